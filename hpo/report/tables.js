// Sorts a table by a column when its heading is clicked, or Enter is pressed on it: numbers by size, words by letters.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.querySelectorAll("th")];
  if (!heads.length || table.rows.length < 4) continue;
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim(), number = parseFloat(text.replace(/,/g, ""));
    return /^[-+]?[\d.,]+/.test(text) ? number : text ? text.toLowerCase() : null;
  };
  const sort = (head, column) => {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    const rows = [...table.rows].slice(1).map(row => [key(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // empty cells last, either way
      if (typeof a !== typeof b) return sign * (typeof a === "number" ? -1 : 1);
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
    });
    rows.forEach(([, row]) => row.parentNode.append(row));
  };
  heads.forEach((head, column) => {
    head.classList.add("sorts");
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head, column));
    head.addEventListener("keydown", event => { if (event.key === "Enter") sort(head, column); });
  });
}
