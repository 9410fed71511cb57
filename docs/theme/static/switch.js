// The pages of both languages have the same headings: who changes the language stays at the same one.
const headings = () => [...document.querySelectorAll("article h1, article h2, article h3")];

function keepPlace() {
  const place = /^#heading-(\d+)$/.exec(location.hash);
  if (place) headings()[place[1]]?.scrollIntoView({ behavior: "instant" });
  const link = document.querySelector("a[data-keeps-place=yes]");
  link?.addEventListener("click", () => {
    const above = headings().filter((each) => each.getBoundingClientRect().top < 150);
    if (above.length > 1) link.hash = `heading-${above.length - 1}`;
  });
}

// What the theme leaves out for keyboards and screen readers.
function nameParts() {
  const contents = document.querySelector("aside.toc-drawer");
  contents?.setAttribute("aria-label", contents.querySelector(".toc-title")?.textContent ?? "");
  document.querySelectorAll("summary[aria-label]").forEach((each) => each.removeAttribute("aria-label"));
  for (const part of document.querySelectorAll("article *")) {
    const scrolls = /auto|scroll/.test(getComputedStyle(part).overflowX);
    if (scrolls && part.scrollWidth > part.clientWidth) part.tabIndex = 0;
  }
}

addEventListener("load", () => {
  keepPlace();
  nameParts();
});
