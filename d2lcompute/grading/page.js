const list = document.querySelector("#submissions");
const search = document.querySelector("#search");
const shown = document.querySelector("#shown");
const order = document.querySelector("#order");
const count = document.querySelector("#count");
const all = [...list.children];
const orders = {
  name: () => 0,
  low: (a, b) => a.dataset.earned - b.dataset.earned,
  high: (a, b) => b.dataset.earned - a.dataset.earned,
};

const choose = () => {
  const name = search.value.toLowerCase();
  const isChosen = ({ name: own, flags }) =>
    own.includes(name) && (!shown.value || flags.split("|").includes(shown.value));
  for (const each of all) each.hidden = !isChosen(each.dataset);
  count.textContent = `${all.filter((each) => !each.hidden).length} of ${all.length} are shown.`;
};
const step = (by) => {
  const summaries = [...list.children].filter((each) => !each.hidden).map((each) => each.firstElementChild);
  const place = summaries.indexOf(document.activeElement);
  summaries[place < 0 ? 0 : Math.min(Math.max(place + by, 0), summaries.length - 1)]?.focus();
};

search.addEventListener("input", choose);
shown.addEventListener("change", choose);
order.addEventListener("change", () => list.append(...[...all].sort(orders[order.value])));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "/") search.focus();
  else return;
  event.preventDefault();
});
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
document.querySelector(".controls").hidden = false;
choose();
