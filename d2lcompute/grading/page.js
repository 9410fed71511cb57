const list = document.querySelector("#submissions");
const search = document.querySelector("#search");
const order = document.querySelector("#order");
const all = [...list.children];
const orders = {
  name: () => 0,
  low: (a, b) => a.dataset.earned - b.dataset.earned,
  high: (a, b) => b.dataset.earned - a.dataset.earned,
};

search.addEventListener("input", () => {
  const wanted = search.value.toLowerCase();
  for (const each of all) each.hidden = !each.dataset.name.includes(wanted);
});
order.addEventListener("change", () => {
  list.append(...all.toSorted ? all.toSorted(orders[order.value]) : [...all].sort(orders[order.value]));
});
document.querySelector(".controls").hidden = false;
