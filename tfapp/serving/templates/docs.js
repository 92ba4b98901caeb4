'use strict';
const LONGEST = 20000; // letters of an answer that are shown

function readable(text) {
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* NaN, or no JSON at all */ }
  return shown.length > LONGEST ? shown.slice(0, LONGEST) + ' …' : shown;
}

async function load(form) {
  const body = form.querySelector('textarea');
  if (!form.dataset.example || body.value) return;
  const answer = await fetch(form.dataset.example);
  if (!answer.ok) throw new Error(await answer.text());
  body.value = await answer.text();
}

async function send(form) {
  const body = form.querySelector('textarea');
  const told = form.querySelector('output');
  const shown = form.querySelector('pre');
  const button = form.querySelector('button');
  button.disabled = true;
  told.textContent = 'sent …';
  try {
    await load(form);
    const began = performance.now();
    const answer = await fetch(form.dataset.url, { method: 'POST', body: body.value });
    const text = await answer.text();
    told.textContent = `${answer.status} in ${(performance.now() - began).toFixed(1)} ms`;
    told.className = answer.ok ? '' : 'error';
    shown.textContent = readable(text);
  } catch (error) {
    told.textContent = 'The server did not answer.';
    told.className = 'error';
    shown.textContent = String(error);
  }
  shown.hidden = false;
  button.disabled = false;
}

for (const form of document.querySelectorAll('form')) {
  form.hidden = false;
  form.addEventListener('submit', event => { event.preventDefault(); send(form); });
  form.querySelector('textarea').addEventListener('focus', () => load(form).catch(() => {}));
}
