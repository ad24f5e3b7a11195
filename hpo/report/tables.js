// Sorts a table by a column when its heading is clicked, or Enter is pressed on it: cells of numbers (class n) by size,
// of others the words by letters and the numbers in them by size. A cell with data-key is sorted by that.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.querySelectorAll("th")];
  if (!heads.length || table.rows.length < 4) continue;
  const key = (row, column) => {
    const cell = row.cells[column], text = cell.dataset.key ?? cell.textContent.trim();
    if (!text) return null;
    const isNumber = cell.classList.contains("n") && /^[-+]?[\d.,]+(e[-+]?\d+)?( ?(%|ms))?$/.test(text);
    return isNumber ? parseFloat(text.replace(/,/g, "")) : text;
  };
  const sort = (head, column) => {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    const rows = [...table.rows].slice(1).map(row => [key(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // empty cells last, either way
      if (typeof a !== typeof b) return sign * (typeof a === "number" ? -1 : 1);
      return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
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
