// Runs in a page that stays: every episode gets a document and a window of its own in a frame, and with the frame goes all that they
// hold, such as timers, listeners and variables. That costs half of what it costs to load a page. It knows no action and no expert.
// This is a function: it is called once in a page, with the text of probe.js, which every episode's window gets.
window.__stage ??= ((probe) => {
  document.documentElement.innerHTML = `<head><style>html, body { margin: 0; overflow: hidden; background: white }
    iframe { border: 0; display: block; width: 100vw; height: 100vh }</style></head><body></body>`;

  const SCRIPT_OR_STYLE = /<script\b[^>]*\bsrc="([^"]+)"[^>]*>\s*<\/script>|<link\b[^>]*\bhref="([^"]+)"[^>]*>/g;
  const PICTURE = /(?<=["'(])[^"'()\s]+\.(?:png|gif|jpg|svg)(?=["')])/g;
  const files = new Map(), pages = new Map();  // what episodes share is read once

  // What a file holds: as a data URL without a charset, else as text.
  function read(address, charset) {
    const key = `${charset} ${address}`;
    if (!files.has(key)) files.set(key, new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(), reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      request.onload = () => charset ? resolve(request.responseText) : reader.readAsDataURL(request.response);
      request.onerror = () => { files.delete(key); reject(new Error(`cannot read ${address}`)); };
      request.open('GET', address);
      if (charset) request.overrideMimeType(`text/plain; charset=${charset}`);
      else request.responseType = 'blob';
      request.send();
    }));
    return files.get(key);
  }

  // A page's or a style sheet's text with its pictures in it: loaded one by one, they would appear sooner or later.
  async function whole(address, charset) {
    const text = await read(address, charset), pictures = new Map();
    for (const name of text.match(PICTURE) ?? []) pictures.set(name, await read(new URL(name, address).href).catch(() => name));
    return text.replace(PICTURE, (name) => pictures.get(name));
  }

  // A page as the texts to write, and the scripts and style sheets between them as [tag, text]. A page that does not say how it is
  // encoded, nor shows it, is Windows-1252 to a browser, and so are its scripts.
  async function parts(address) {
    const html = await whole(address, 'utf-8'), found = [];
    const charset = /<meta[^>]*charset=["']?([\w-]+)/i.exec(html)?.[1] ?? (/[^\0-\x7f]/.test(html) ? 'utf-8' : 'windows-1252');
    let end = 0;
    for (const match of html.matchAll(SCRIPT_OR_STYLE)) {
      const [tag, script, sheet] = match;
      found.push(html.slice(end, match.index));
      if (script) found.push(['script', await read(new URL(script, address).href, charset)]);
      else found.push(['style', await whole(new URL(sheet, address).href, charset)]);
      end = match.index + tag.length;
    }
    return [...found, html.slice(end)];
  }

  function write(page, document) {
    document.open();
    for (const part of page) {
      if (typeof part === 'string') {
        document.write(part);
        continue;
      }
      const element = document.createElement(part[0]);
      element.textContent = part[1];  // the same string each time: it is compiled once
      (document.body || document.head).append(element);
    }
    document.close();
  }

  let frame = null, here = null;  // the episode's frame and its window's probe: another page in the frame has none

  async function begin(address, seed) {
    if (!pages.has(address)) pages.set(address, await parts(address));
    if (frame) frame.remove();
    localStorage.clear();
    sessionStorage.clear();
    frame = document.createElement('iframe');
    document.body.append(frame);
    const [start, ...rest] = pages.get(address);
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    write([start, ['script', probe], ...rest], frame.contentDocument);
    await loaded;
    here = frame.contentWindow.__probe;
    const one = here;
    one.gone = new Promise((resolve) => {
      frame.onload = resolve;
      frame.contentWindow.addEventListener('pagehide', resolve);
    }).then(() => { one.left = true; });
    frame.contentWindow.focus();  // keys go to the episode from its start
    return here.begin(seed, settled);
  }

  const drawn = () => Promise.race([here.drawn(), here.gone]);  // the frames of a page that is left are never drawn

  // Resolves when animations and short timers have ended. `frames`: and two frames have been drawn, as the wheel's hit-test needs.
  async function settled(frames = true, limit = 2000) {
    const start = performance.now();
    if (frames) await drawn();
    while (!here.left && here.moving() && performance.now() - start < limit) await drawn();
    return here.left ? {left: true} : here.state();
  }

  return {begin, settled};
})
