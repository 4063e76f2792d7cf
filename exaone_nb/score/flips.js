"use strict";
const find = id => document.getElementById(id);
const cards = Array.from(document.querySelectorAll("article"));
const texts = cards.map(card => card.textContent.toLowerCase());

function filter() {
  const words = find("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  cards.forEach((card, i) => {
    const fits = ["kind", "task", "candidate"].every(name => !find(name).value || card.dataset[name] === find(name).value)
      && (!find("cut").checked || "cut" in card.dataset)
      && words.every(word => texts[i].includes(word));
    card.hidden = !fits;
    shown += fits;
  });
  find("count").textContent = find("count").dataset.words.replace("{n}", shown);
}

find("filters").addEventListener("input", filter);
find("filters").addEventListener("submit", event => event.preventDefault());
filter();
