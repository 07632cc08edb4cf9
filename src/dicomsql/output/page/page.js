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
    if (cell.classList.contains("null")) return null;
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
      cell.className = orders[column] === "number" ? "null number" : "null";
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

  const TIME = new RegExp(
    /^(?:(\d{4,})-(\d\d)-(\d\d))?(?:(?:^| )(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?/.source
    + /(?:Z|([+-])(\d\d):?(\d\d)?(?::\d\d)?)?( \(BC\))?$/.source);

  // Dates and times as texts that have their order, of which a beginning is a time that is told less
  // exactly. Those with an offset are put into UTC.
  function timeOf(text) {
    if (/^-?infinity$/.test(text)) return text[0] === "-" ? "!" : "~";
    const found = TIME.exec(text);
    if (!found) return text;
    const [, year, month, day, hour = "00", minute = "00", second = "00", fraction = "", sign, hours, minutes, bc] = found;
    const clock = [hour, minute, second].join(":"), rest = "." + fraction.padEnd(9, "0");
    if (!year) return clock + rest;
    if (!sign) return `${dated(bc ? 1 - year : +year, month, day)} ${clock}${rest}`;
    const moved = (sign === "-" ? 1 : -1) * (hours * 60 + +(minutes || 0)), at = new Date(0);
    at.setUTCFullYear(bc ? 1 - year : year, month - 1, day);
    at.setUTCHours(hour, +minute + moved, second);
    const time = at.toISOString().slice(-13, -5);
    return `${dated(at.getUTCFullYear(), at.getUTCMonth() + 1, at.getUTCDate())} ${time}${rest}`;
  }
  const two = part => String(part).padStart(2, "0");
  // Years before Christ and after 9999 have their place too.
  const dated = (year, ...rest) => [String(1e6 + year).padStart(7, "0"), ...rest.map(two)].join("-");
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

  const compareTimes = (a, b) => { const x = timeOf(a), y = timeOf(b); return x < y ? -1 : x > y ? 1 : 0; };
  const COMPARE = {
    number: compareNumbers, date: compareTimes, time: compareTimes, timestamp: compareTimes,
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

  // What a column's box asks for, as a function of a value; null for all, undefined where it is not
  // understood.
  function asked(text, kind) {
    const said = text.trim();
    if (!said) return null;
    if (/^null$/i.test(said)) return value => value === null;
    if (/^!\s*null$/i.test(said)) return value => value !== null;
    const part = /^(<=|>=|!=|<|>|=)\s*(.*)$/.exec(said);
    const range = kind === "text" ? null : /^(.*?)\s*\.\.\s*(.*)$/.exec(said);
    if (range) {
      const [from, to] = [range[1], range[2]].map(end => end ? against(end, kind) : () => 0);
      if (!from || !to || !range[1] && !range[2]) return undefined;
      return value => value !== null && from(textOf(value)) >= 0 && to(textOf(value)) <= 0;
    }
    if (part && (kind !== "text" || part[1] === "=" || part[1] === "!=")) {
      const compare = against(part[2], kind), test = TESTS[part[1]];
      return compare && (value => value !== null && test(compare(textOf(value))));
    }
    const wanted = said.toLowerCase();
    return value => value !== null && textOf(value).toLowerCase().includes(wanted);
  }

  // How values compare with one that is asked for; undefined where that is none.
  function against(said, kind) {
    if (kind === "text") return text => text === said ? 0 : 1;
    if (kind === "number") {
      const plain = said.replace(/[_\s]/g, "");
      const grouped = /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/.test(plain) ? plain.replaceAll(",", "") : plain;
      if (!/^[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?|nan)$/i.test(grouped)) return undefined;
      const wanted = grouped.replace(/^\+/, "").replace(/infinity$/i, "inf");
      return text => compareNumbers(text, wanted);
    }
    const wanted = beginningOf(said, kind);
    return wanted && (text => {
      const key = timeOf(text).slice(0, wanted.length);
      return key < wanted ? -1 : key > wanted ? 1 : 0;
    });
  }

  // Times are compared as far as they are told, so that 2026 is all of that year.
  const DAY = /^(\d{4,6})(?:-(\d{1,2})(?:-(\d{1,2}))?)?$/;
  const CLOCK = /^(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,9}))?)?)?$/;
  function beginningOf(said, kind) {
    const [, date, clock] = kind === "time" ? [, , said] : /^(\S+?)(?:(?:T|\s+)(.*?)Z?)?$/i.exec(said) || [];
    const day = DAY.exec(date || ""), time = CLOCK.exec(clock || "");
    if (kind === "date" && clock || kind !== "time" && !day || clock && !time) return undefined;
    if (kind === "time" && !time || date && clock && !day[3]) return undefined;
    if (day && (day[2] > 12 || day[2] < 1 || day[3] > 31 || day[3] < 1)) return undefined;
    if (time && (time[1] > 24 || time[2] > 59 || time[3] > 60)) return undefined;
    const parts = [];
    if (day) parts.push(dated(+day[1], ...day.slice(2).filter(Boolean)));
    if (time) {
      const told = time.slice(1, 4).filter(Boolean).map(two).join(":");
      parts.push(time[4] ? `${told}.${time[4]}` : told);
    }
    return parts.join(" ");
  }

  const HELP = {
    text: "text, =text, !=text, null or !null",
    number: "text, >5, <=1.5, 1..9, =5, null or !null",
    date: "text, >2026-01-31, 2025..2026-03, =2026, null or !null",
    time: "text, >9:30, 9:00..17:30, null or !null",
    timestamp: "text, >2026-01-31, >2026-01-31 9:30, 2025..2026-03, null or !null",
  };
  let haystacks = null;
  function matching() {
    const wanted = search.value.trim().toLowerCase();
    const tests = [];
    boxes.forEach((box, column) => {
      const kind = orders[column], test = asked(box.value, kind);
      box.setAttribute("aria-invalid", test === undefined);
      box.title = test === undefined ? `Not understood, so all rows are shown. ${HELP[kind]}` : HELP[kind];
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
    const wrong = boxes.filter(box => box.getAttribute("aria-invalid") === "true").length;
    if (wrong) status.textContent += `; ${wrong} filter${wrong === 1 ? " is" : "s are"} not understood`;
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
    box(input, `Filter ${names[column]}`, HELP[orders[column]]);
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
