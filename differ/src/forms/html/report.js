'use strict';
// Filters findings. Everything is on the page without it.
(() => {
  const form = document.getElementById('filter');
  const articles = [...document.querySelectorAll('article[data-severity]')];
  const shown = document.getElementById('shown');
  const apply = () => {
    const severities = [...form.querySelectorAll('input[name=severity]:checked')].map((box) => box.value);
    const kind = form.elements.kind.value;
    const method = form.elements.method.value;
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const article of articles) {
      const text = article.textContent.toLowerCase();
      const fits = severities.includes(article.dataset.severity)
        && (!kind || article.dataset.kind === kind)
        && (!method || article.dataset.method === method)
        && words.every((word) => text.includes(word));
      article.hidden = !fits;
      count += fits ? 1 : 0;
    }
    shown.textContent = `${count} of ${articles.length} shown`;
  };
  // A link to a finding shows it, whatever the filter says.
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.hidden) {
      form.reset();
      apply();
      target.scrollIntoView();
    }
  };
  form.addEventListener('input', apply);
  form.addEventListener('submit', (event) => event.preventDefault());
  window.addEventListener('hashchange', follow);
  form.hidden = false;
  apply();
  follow();
})();
