// What the recorder asks a page: where is an element visible, what is on the screen, has it settled.
// It only reads, but for two things: the blinking text caret is hidden, and each page has a clipboard of its own.
window.__probe = (() => {
  const WIDTH = 160, HEIGHT = 210;

  // The part of the element that lies on the screenshot and inside every scrolled or clipped ancestor.
  function clip(element, rect) {
    let [x1, y1, x2, y2] = [rect.left, rect.top, rect.right, rect.bottom];
    const cut = (r) => { x1 = Math.max(x1, r.left); y1 = Math.max(y1, r.top); x2 = Math.min(x2, r.right); y2 = Math.min(y2, r.bottom); };
    cut({left: 0, top: 0, right: WIDTH, bottom: HEIGHT});
    for (let p = element.parentElement; p && p !== document.body; p = p.parentElement)
      if (getComputedStyle(p).overflow !== 'visible') cut(p.getBoundingClientRect());
    return x2 > x1 && y2 > y1 ? [x1, y1, x2, y2] : null;
  }

  const hits = (element, x, y) => { const top = document.elementFromPoint(x, y); return top !== null && element.contains(top); };

  // Decomposes the pixels that answer to the element into at most `most` rectangles, the largest first.
  function rectangles(element, [x1, y1, x2, y2], most = 4) {
    const left = Math.ceil(x1), top = Math.ceil(y1), w = Math.ceil(x2) - left, h = Math.ceil(y2) - top;
    const free = Array.from({length: h}, (_, j) => Array.from({length: w}, (_, i) => hits(element, left + i, top + j)));
    const total = free.flat().filter(Boolean).length, found = [];
    for (let covered = 0; found.length < most && covered < 0.9 * total;) {
      let best = null;
      const run = new Array(w).fill(0);  // how many free pixels stand above (and with) this one
      for (let j = 0; j < h; j++) {
        for (let i = 0; i < w; i++) run[i] = free[j][i] ? run[i] + 1 : 0;
        for (let i = 0; i < w; i++)
          for (let k = i, low = Infinity; k < w && (low = Math.min(low, run[k])) > 0; k++)
            if (!best || low * (k - i + 1) > best.area) best = {area: low * (k - i + 1), i, j: j - low + 1, w: k - i + 1, h: low};
      }
      if (!best || (found.length && best.area < 9)) break;
      for (let j = best.j; j < best.j + best.h; j++) free[j].fill(false, best.i, best.i + best.w);
      covered += best.area;
      found.push([left + best.i, top + best.j, left + best.i + best.w, top + best.j + best.h]);
    }
    return found;
  }

  // Visible boxes in pixels, the one to aim at first. A box that is free at its rim counts as free inside.
  function boxes(element) {
    const parts = [...element.getClientRects()].map((r) => clip(element, r)).filter(Boolean);
    parts.sort((a, b) => (b[2] - b[0]) * (b[3] - b[1]) - (a[2] - a[0]) * (a[3] - a[1]));
    return parts.flatMap((part) => {
      const [x1, y1, x2, y2] = part, dx = Math.min(3, (x2 - x1) / 4), dy = Math.min(3, (y2 - y1) / 4);
      const xs = [x1 + dx, (x1 + x2) / 2, x2 - dx], ys = [y1 + dy, (y1 + y2) / 2, y2 - dy];
      return xs.every((x) => ys.every((y) => hits(element, x, y))) ? [part] : rectangles(element, part);
    });
  }

  // The browser's clipboard is shared with the episodes beside and before this one: what is pasted here was copied here.
  let copied = '';
  const selection = (e) => editable(e) && e.type !== 'password' && e.selectionEnd > e.selectionStart
    ? e.value.slice(e.selectionStart, e.selectionEnd) : String(window.getSelection());
  for (const kind of ['copy', 'cut'])
    window.addEventListener(kind, () => { copied = selection(document.activeElement) || copied; }, true);
  window.addEventListener('paste', (event) => {
    event.preventDefault();
    if (!copied) return;
    document.execCommand('insertText', false, copied);
    const box = document.activeElement;  // a script's insertion does not scroll to its end, as a user's does
    if (editable(box) && box.selectionEnd === box.value.length) [box.scrollLeft, box.scrollTop] = [box.scrollWidth, box.scrollHeight];
  }, true);

  const KINDS = [
    ['dialog', '.ui-dialog, #popup'], ['spinner', '.ui-spinner'], ['mail', '.email-thread'], ['post', '.media'], ['dish', '.food-item'],
    ['menu item', '.ui-menu-item-wrapper'], ['option', '.selectric-items li'], ['list item', '.ui-sortable-handle'], ['month', '.ui-datepicker-month'],
    ['text box', 'input:not([type=checkbox], [type=radio], [type=button], [type=submit], .ui-spinner-input), textarea'],
    ['checkbox', 'input[type=checkbox]'], ['radio button', 'input[type=radio]'], ['list', 'select, .selectric'],
    ['tab', '.ui-tabs-nav li'], ['slider', '.ui-slider'], ['link', '.alink, a[href]:not(.ui-tabs-anchor)'],
    ['section', 'h3.ui-accordion-header'], ['box', '.color, #area span[data-color], .ui-draggable'],
    ['shape', '#area svg circle, #area svg rect, #area svg polygon, #area svg text'],
    ['button', 'button, input[type=button], input[type=submit]'],
  ];

  const visible = (element) => [...element.getClientRects()].some((r) => r.width > 0 && r.height > 0 && clip(element, r))
    && getComputedStyle(element).visibility !== 'hidden';

  const editable = (e) => e !== null && /^(INPUT|TEXTAREA)$/.test(e.tagName) && !/^(checkbox|radio|button|submit)$/.test(e.type);

  // The one fact that changes while a task is worked on: what is open, selected, scrolled, set, in focus or filled.
  function progress(all) {
    const marked = all.filter((e) => e.checked || e.classList.contains('selected')).length;
    if (marked) return `${marked} selected`;
    const number = document.querySelector('.ui-spinner-input') || document.querySelector('#val');
    if (number) return `value ${number.value ?? number.textContent}`;
    if (document.querySelector('.ui-accordion-content-active')) return '1 open';
    const long = all.find((e) => e.tagName === 'TEXTAREA' && e.scrollHeight > e.clientHeight + 20);
    const focus = document.activeElement;
    if (String(window.getSelection()).trim() || (editable(focus) && focus.selectionEnd > focus.selectionStart)) return 'text marked';
    if (long && long.id === 'text-area') {
      const left = long.scrollHeight - long.clientHeight - long.scrollTop;
      return long.scrollTop < 2 ? 'at top' : left < 2 ? 'at bottom' : 'in the middle';
    }
    if (editable(focus) && visible(focus) && !focus.value) return '1 focused';
    const filled = all.filter((e) => editable(e) && e.value).length;
    return filled ? `${filled} filled` : '';
  }

  // At most two kinds of things, counted, and the progress.
  function abstraction() {
    const seen = KINDS.map(([name, selector]) => [name, [...document.querySelectorAll(selector)]
      .filter((e) => visible(e) && e.closest('#wrap, .ui-dialog, #popup, .ui-datepicker') && !e.closest('#query'))]).filter(([, list]) => list.length);
    const words = seen.slice(0, 2).map(([name, list]) => `${list.length} ${list.length > 1 ? name.replace(/x$/, 'xe') + 's' : name}`);
    const now = progress(seen.flatMap(([, list]) => list));
    return [...words, ...(now ? [now] : [])].join(', ') || 'text only';
  }

  // Short timers that are still to fire: a submenu or a list of suggestions opens 300 ms after what caused it.
  const pending = new Set(), plain = {set: window.setTimeout, clear: window.clearTimeout};
  window.setTimeout = (work, delay = 0, ...rest) => {
    const timer = plain.set.call(window, (...given) => { pending.delete(timer); typeof work === 'function' ? work(...given) : eval(work); }, delay, ...rest);
    if (delay <= 500) pending.add(timer);
    return timer;
  };
  window.clearTimeout = (timer) => { pending.delete(timer); plain.clear.call(window, timer); };

  const moving = () => pending.size > 0 || [...document.images].some((image) => !image.complete)
    || (window.jQuery && window.jQuery(':animated').length > 0)
    || document.getAnimations().some((a) => a.playState === 'running' && a.effect.getComputedTiming().endTime !== Infinity);

  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

  const state = () => ({left: false, done: WOB_DONE_GLOBAL, reward: WOB_RAW_REWARD_GLOBAL});

  async function begin(seed, settled) {
    const style = document.createElement('style');
    style.textContent = '* { caret-color: transparent !important }';  // a blinking caret would make screenshots differ
    document.head.append(style);
    Math.seedrandom(String(seed));
    core.EPISODE_MAX_TIME = 1e8;  // the page's own 10 to 30 s of wall time are no time for a model
    core.startEpisodeReal();
    clearInterval(core.CD_TIMER);  // a countdown beside the screenshot would have every waiting page drawn each second
    const goal = core.getUtterance();
    while (!WOB_TASK_READY) await new Promise(requestAnimationFrame);
    await settled();
    return typeof goal === 'string' ? goal : goal.utterance;
  }

  return {boxes, abstraction, moving, drawn, state, begin, visible};
})();
