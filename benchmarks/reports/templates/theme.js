"use strict";
// Figures and page take their colours from styles, so a change of theme draws nothing again.
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const preferred = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = (root.dataset.theme ?? preferred) === "dark" ? "light" : "dark";
});
