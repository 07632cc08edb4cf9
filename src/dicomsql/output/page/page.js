"use strict";
(() => {
  // More rows than this are drawn only where they are looked at.
  const PLAIN = 2000;
  // Rows drawn above and below those that are seen, and pixels that browsers let an element have.
  const AROUND = 20, HIGHEST = 8e6;
  // Letters after which a cell shows its beginning.
  const LONG = 300, LONG_WINDOWED = 60;
  // Rows that are drawn for a printer.
  const PRINTED = 10000;

  const view = document.getElementById("view");
  const table = view.querySelector("table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map(head => head.querySelector("span").textContent);
  const orders = heads.map(head => head.dataset.order);
  const isJson = heads.map(head => "json" in head.dataset);
  const number = new Intl.NumberFormat("en-US");
  const collator = new Intl.Collator(undefined, {numeric: true});

  // -- the rows: texts, null for NULL, {alt} for bytes, {alt, src} for pictures ------------------

  const valueOf = cell => {
    const image = cell.querySelector("img");
    if (image) return {alt: image.alt, src: image.src};
    if (cell.className === "null") return null;
    return cell.className === "bytes" ? {alt: cell.textContent} : cell.textContent;
  };
  const valueIn = value => {
    if (!Array.isArray(value)) return value;
    if (value.length === 1) return {alt: value[0]};
    return {alt: value[1], src: `data:image/${value[0]};base64,${value[2]}`};
  };
  const elements = [...body.rows];
  const rows = elements.map(row => [...row.cells].map(valueOf));
  for (const block of document.querySelectorAll("script.rows")) {
    for (const row of JSON.parse(block.textContent)) rows.push(row.map(valueIn));
    block.remove();
  }
  const windowed = rows.length > PLAIN;
  const textOf = value => value === null ? "" : typeof value === "string" ? value : value.alt;

  // -- the whole of a value ----------------------------------------------------------------------

  const dialog = document.createElement("dialog");
  const close = button("Close", () => dialog.close());
  close.className = "close";
  dialog.addEventListener("click", event => event.target === dialog && dialog.close());
  document.body.append(dialog);

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  function show(value, column) {
    const head = document.createElement("h2");
    head.textContent = names[column];
    const shown = document.createElement(value.src ? "img" : "pre");
    if (value.src) {
      shown.src = value.src;
      shown.alt = value.alt;
    } else {
      shown.textContent = isJson[column] ? pretty(value) : value;
    }
    const about = document.createElement("p");
    about.textContent = value.src ? value.alt : "";
    const inside = document.createElement("div");
    inside.append(close, head, shown, about);
    dialog.replaceChildren(inside);
    dialog.setAttribute("aria-label", names[column]);
    dialog.showModal();
  }

  function pretty(text) {
    try {
      // Numbers that a script cannot hold stay as they are written.
      return /\d{16}/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  }

  // Lets a cell's value be seen whole, where the cell does not show it so.
  function openable(cell, value, column) {
    const picture = value !== null && value.src;
    const long = windowed ? LONG_WINDOWED : LONG;
    if (!picture && !(typeof value === "string" && (value.length > long || windowed && value.includes("\n")))) return;
    const opener = button("", () => show(value, column));
    opener.className = picture ? "picture" : "more";
    opener.append(...cell.childNodes);
    opener.setAttribute("aria-label", picture ? `Enlarge ${value.alt}` : `Show all of ${names[column]}`);
    cell.append(opener);
  }

  function cellOf(value, column) {
    const cell = document.createElement("td");
    if (value === null) {
      cell.className = "null";
      cell.textContent = "NULL";
    } else if (value.src) {
      const image = document.createElement("img");
      image.alt = value.alt;
      image.src = value.src;
      cell.append(image);
    } else {
      cell.textContent = textOf(value);
      if (typeof value !== "string") cell.className = "bytes";
      else if (orders[column] === "number") cell.className = "number";
    }
    openable(cell, value, column);
    return cell;
  }

  // -- order -------------------------------------------------------------------------------------

  let order = rows.map((_, index) => index);
  let sorted = -1, descending = false;

  // Times in the order of their texts; those with an offset are put into UTC.
  function timeOf(text) {
    if (!/:\d\d(\.\d+)?[+-]\d\d:\d\d$/.test(text)) return text.replace(/Z$/, "");
    const time = new Date(text.replace(" ", "T"));
    if (Number.isNaN(time.getTime())) return text;
    return time.toISOString().replace("T", " ").replace(/(\.0+)?Z$/, "");
  }
  const numberOf = text => {
    const plain = text.toLowerCase().replace("inf", "Infinity");
    return plain === "nan" ? NaN : Number(plain);
  };
  const isWhole = text => /^-?\d+$/.test(text);

  function compareNumbers(a, b) {
    const x = numberOf(a), y = numberOf(b);
    if (x < y || Number.isNaN(y) && !Number.isNaN(x)) return -1;
    if (x > y || Number.isNaN(x) && !Number.isNaN(y)) return 1;
    // Numbers of more digits than a script's own have.
    if (a === b || !isWhole(a) || !isWhole(b)) return 0;
    return BigInt(a) < BigInt(b) ? -1 : 1;
  }

  const COMPARE = {
    number: compareNumbers,
    time: (a, b) => { const x = timeOf(a), y = timeOf(b); return x < y ? -1 : x > y ? 1 : 0; },
    text: (a, b) => collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0),
  };

  // Sorts by a column: upwards, downwards, then as the rows came. NULL is last; equals stay.
  function sort(column) {
    if (sorted !== column) [sorted, descending] = [column, false];
    else if (!descending) descending = true;
    else sorted = -1;
    heads.forEach((head, at) => {
      if (at !== sorted) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    });
    if (sorted < 0) {
      order = rows.map((_, index) => index);
    } else {
      const compare = COMPARE[orders[column]], sign = descending ? -1 : 1;
      const keys = rows.map(row => row[column] === null ? null : textOf(row[column]));
      order.sort((a, b) => {
        const x = keys[a], y = keys[b];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * compare(x, y);
      });
    }
    update();
  }

  // -- filters -----------------------------------------------------------------------------------

  const TESTS = {
    "<": order => order < 0, "<=": order => order <= 0, ">": order => order > 0,
    ">=": order => order >= 0, "=": order => order === 0, "!=": order => order !== 0,
  };

  // What a column's box asks for, as a function of a value; null for all.
  function asked(text, kind) {
    const said = text.trim();
    if (!said) return null;
    if (/^null$/i.test(said)) return value => value === null;
    if (/^!\s*null$/i.test(said)) return value => value !== null;
    const part = /^(<=|>=|!=|<|>|=)\s*(.+)$/.exec(said);
    const range = kind === "text" ? null : /^(.+?)\s*\.\.\s*(.+)$/.exec(said);
    if (range) {
      const from = against(range[1], kind), to = against(range[2], kind);
      return value => value !== null && from(textOf(value)) >= 0 && to(textOf(value)) <= 0;
    }
    if (part && (kind !== "text" || part[1] === "=" || part[1] === "!=")) {
      const compare = against(part[2], kind), test = TESTS[part[1]];
      return value => value !== null && test(compare(textOf(value)));
    }
    const wanted = said.toLowerCase();
    return value => value !== null && textOf(value).toLowerCase().includes(wanted);
  }

  // How values compare with one: times as far as it is told, so that 2026 is all of that year.
  function against(said, kind) {
    if (kind === "number") {
      const plain = said.replace(/[,_\s]/g, "");
      return text => compareNumbers(text, plain);
    }
    if (kind === "time") {
      const plain = said.replace("T", " ").replace(/Z$/, "");
      return text => {
        const key = timeOf(text).slice(0, plain.length);
        return key < plain ? -1 : key > plain ? 1 : 0;
      };
    }
    return text => text === said ? 0 : 1;
  }

  let haystacks = null;
  function matching() {
    const wanted = search.value.trim().toLowerCase();
    const tests = [];
    boxes.forEach((box, column) => {
      const test = asked(box.value, orders[column]);
      if (test) tests.push(row => test(row[column]));
    });
    if (!wanted && !tests.length) return order;
    if (wanted && !haystacks) {
      haystacks = rows.map(row => row.map(textOf).join("\n").toLowerCase());
    }
    return order.filter(index =>
      (!wanted || haystacks[index].includes(wanted)) && tests.every(test => test(rows[index])));
  }

  // -- drawing -----------------------------------------------------------------------------------

  let seen = order, rowHeight = 0, drawnFrom = -1, drawnTo = -1;

  function update() {
    seen = matching();
    status.textContent = seen.length === rows.length
      ? `${number.format(rows.length)} row${rows.length === 1 ? "" : "s"}`
      : `${number.format(seen.length)} of ${number.format(rows.length)} rows`;
    if (!windowed) {
      body.replaceChildren(...seen.map(index => elements[index]));
      return;
    }
    table.setAttribute("aria-rowcount", seen.length + 1);
    view.scrollTop = 0;
    drawnFrom = -1;
    draw();
  }

  function rowOf(at) {
    const row = document.createElement("tr");
    row.setAttribute("aria-rowindex", at + 2);
    row.append(...rows[seen[at]].map(cellOf));
    return row;
  }

  function space(height) {
    const row = document.createElement("tr");
    row.className = "space";
    row.setAttribute("aria-hidden", "true");
    const cell = document.createElement("td");
    cell.colSpan = heads.length;
    cell.style.height = `${height}px`;
    row.append(cell);
    return row;
  }

  // Draws the rows that are seen, between two that have the height of the others.
  function draw() {
    const height = Math.min(seen.length * rowHeight, HIGHEST);
    const room = Math.max(1, Math.ceil(view.clientHeight / rowHeight));
    const furthest = Math.max(1, height - view.clientHeight);
    const at = height < HIGHEST
      ? Math.floor(view.scrollTop / rowHeight)
      : Math.floor(Math.min(1, view.scrollTop / furthest) * Math.max(0, seen.length - room));
    const from = Math.max(0, at - AROUND), to = Math.min(seen.length, at + room + AROUND);
    if (from === drawnFrom && to === drawnTo) return;
    [drawnFrom, drawnTo] = [from, to];
    const above = height < HIGHEST
      ? from * rowHeight
      : Math.max(0, Math.min(height - (to - from) * rowHeight, view.scrollTop - (at - from) * rowHeight));
    const below = Math.max(0, height - above - (to - from) * rowHeight);
    const drawn = [];
    for (let index = from; index < to; index++) drawn.push(rowOf(index));
    body.replaceChildren(space(above), ...drawn, space(below));
  }

  // Columns keep the widths that the first rows need, or they would move while one scrolls.
  function fix() {
    table.classList.add("windowed");
    if (rows.slice(0, PLAIN).some(row => row.some(value => value !== null && value.src))) {
      table.classList.add("pictured");
    }
    body.replaceChildren(...rows.slice(0, 200).map(row => {
      const line = document.createElement("tr");
      line.append(...row.map(cellOf));
      return line;
    }));
    rowHeight = body.rows[0].getBoundingClientRect().height;
    const widths = heads.map(head => Math.ceil(head.getBoundingClientRect().width));
    heads.forEach((head, at) => { head.style.width = `${widths[at]}px`; });
    table.style.width = `${widths.reduce((sum, width) => sum + width, 0)}px`;
    table.style.tableLayout = "fixed";
  }

  // -- what a person uses ------------------------------------------------------------------------

  const search = document.createElement("input");
  const status = document.createElement("p");
  const boxes = [];
  let waiting = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, windowed ? 150 : 0);
  };

  function box(input, name, help) {
    input.type = "search";
    input.setAttribute("aria-label", name);
    input.title = help;
    input.autocomplete = "off";
    input.spellcheck = false;
    input.addEventListener("input", soon);
  }

  box(search, "Search all columns", "Rows that have this text in any column");
  search.placeholder = "Search";
  status.setAttribute("role", "status");
  document.getElementById("tools").append(search, status);
  const line = document.createElement("tr");
  line.className = "filters";
  heads.forEach((head, column) => {
    const sorter = button("", () => sort(column));
    sorter.append(...head.childNodes);
    head.append(sorter);
    const input = document.createElement("input");
    const values = orders[column] === "text" ? "text, =text" : "text, >5, 1..9, =5";
    box(input, `Filter ${names[column]}`, `${values}, null or !null`);
    boxes.push(input);
    const cell = document.createElement("td");
    cell.append(input);
    line.append(cell);
  });
  table.tHead.append(line);

  if (windowed) {
    fix();
    let framed = false;
    view.addEventListener("scroll", () => {
      if (framed) return;
      framed = true;
      requestAnimationFrame(() => { framed = false; draw(); });
    });
    addEventListener("resize", draw);
    addEventListener("beforeprint", () => {
      body.replaceChildren(...seen.slice(0, PRINTED).map((_, at) => rowOf(at)));
      if (seen.length > PRINTED) status.textContent += `; ${number.format(PRINTED)} are printed`;
    });
    addEventListener("afterprint", () => update());
  } else {
    elements.forEach((row, index) => [...row.cells].forEach(
      (cell, column) => openable(cell, rows[index][column], column)));
  }
  update();
})();
