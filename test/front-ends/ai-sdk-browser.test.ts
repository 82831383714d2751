/** `useChat` of React in a real browser, where components mount twice, unmount, and pages are reloaded. */
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Page } from 'playwright-core';
import { beforeAll, expect, it } from 'vitest';
import { browserForEachTest } from '../support/browser.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { plainConfig, serviceForEachTest } from '../support/service.ts';
import { requiresBrowser } from '../support/skip.ts';

finishesCleanly();
const test = serviceForEachTest({ configs: { default: { ...plainConfig, on_disconnect: 'continue' } } });

const app = `
import { createElement as h, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useChat } from '@ai-sdk/react';
import { createChatTransport } from '../../src/ai-sdk.ts';
import { createLlmClient } from '../../src/client/llm-client.ts';

const llm = createLlmClient({ url: location.origin, transport: 'ws' });
const transport = createChatTransport(llm, { config: 'default' });

function Chat() {
  const { messages, sendMessage, status, error } = useChat({ id: 'chat', transport, resume: true });
  const last = messages.at(-1);
  return h('div', null,
    h('output', { id: 'count' }, String(messages.length)),
    h('output', { id: 'text' }, last?.role === 'assistant' ? last.parts.map((part) => part.text ?? '').join('') : ''),
    h('output', { id: 'state' }, [status, last?.metadata?.state, error?.code].join(' ')),
    h('button', { onClick: () => sendMessage({ text: 'hi' }) }, 'Ask'),
    h('button', { onClick: () => transport.stop('chat') }, 'Stop'));
}
function App() {
  const [open, setOpen] = useState(true);
  return h('main', null, open && h(Chat), h('button', { onClick: () => setOpen(!open) }, 'Toggle'));
}
document.body.innerHTML = '<div id="root"></div>';
createRoot(document.getElementById('root')).render(h(StrictMode, null, h(App)));
`;

requiresBrowser()('in a browser', () => {
  const browser = browserForEachTest();
  let bundle: string;
  let bundled: readonly string[];
  beforeAll(async () => {
    const made = await build({
      stdin: { contents: app, resolveDir: fileURLToPath(new URL('.', import.meta.url)), loader: 'tsx' },
      bundle: true,
      write: false,
      metafile: true,
      conditions: ['browser', 'import', 'module'],
      format: 'iife',
      target: 'es2022',
      define: { 'process.env.NODE_ENV': '"development"' },
      logLevel: 'silent',
    });
    bundle = made.outputFiles[0]!.text;
    bundled = Object.keys(made.metafile.inputs);
  });

  async function show(page: Page): Promise<void> {
    await page.evaluate(bundle);
    await page.locator('#state').waitFor();
  }
  const text = (page: Page, words: string) => page.locator('#text', { hasText: words }).waitFor();

  it('an answer outlives an unmount and a reload, is shown once, and stops at a click', async () => {
    const { url, upstream } = test.current;
    const page = await browser.open(`${url}/healthz`);
    await show(page);
    upstream.enqueue({ kind: 'manual' });
    await page.getByRole('button', { name: 'Ask' }).click();
    const request = await upstream.nextRequest();
    await request.text('one ');
    await text(page, 'one');

    await page.getByRole('button', { name: 'Toggle' }).click();
    await page.locator('#text').waitFor({ state: 'detached' });
    await request.text('two ');
    await page.getByRole('button', { name: 'Toggle' }).click();
    await text(page, 'one two');

    await page.reload();
    await show(page);
    await text(page, 'one two');
    await request.text('three');
    await text(page, 'one two three');
    expect(await page.locator('#text').textContent()).toBe('one two three');
    expect(await page.locator('#count').textContent()).toBe('1');

    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('#state', { hasText: 'ready cancelled' }).waitFor();
    expect(await request.outcome).toBe('client_closed');
    expect(await page.locator('#text').textContent()).toBe('one two three');
    expect(upstream.requestCount).toBe(1);
  });

  it('a page takes the client and the adapters of the service, and nothing else of it', () => {
    const ours = bundled.filter((path) => path.startsWith('src/'));
    const others = ours.filter((path) => !/^src\/(?:ai-sdk\.ts|client\/|adapters\/|flow\/retry-after\.ts)/.test(path));
    expect(others).toEqual([]);
  });
});
