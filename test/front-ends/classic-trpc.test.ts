/** The recipe for tRPC's older React package, in a real browser: effects need a document. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, it } from 'vitest';
import { browserForEachTest } from '../support/browser.ts';
import { finishesCleanly } from '../support/finishes-cleanly.ts';
import { recipesOnDisk } from '../support/recipes.ts';
import { serviceForEachTest } from '../support/service.ts';
import { requiresBrowser } from '../support/skip.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

finishesCleanly();
const recipes = recipesOnDisk();
const test = serviceForEachTest();
const root = fileURLToPath(new URL('../..', import.meta.url));

/** A page's script: `show(question, generationId)` renders the recipe. */
async function bundle(): Promise<string> {
  const contents = `
    import { createElement } from 'react';
    import { createRoot } from 'react-dom/client';
    import { QueryClient } from '@tanstack/react-query';
    import { createLlmClient } from ${JSON.stringify(join(root, 'src/client/llm-client.ts'))};
    import { Answer, Answers } from ${JSON.stringify(join(recipes.folder, 'classic-trpc.tsx'))};
    globalThis.show = (question, generationId) => {
      const llm = createLlmClient({ url: location.origin, transport: 'ws', reconnect: { delayMs: 1, delayMsMax: 10 } });
      const place = document.body.appendChild(document.createElement('main'));
      const answer = createElement(Answer, { question, generationId });
      createRoot(place).render(createElement(Answers, { llm, queryClient: new QueryClient() }, answer));
    };`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: recipes.folder },
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    // An app has one copy of each.
    alias: { '@trpc/client': join(root, 'node_modules/@trpc/client') },
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}

requiresBrowser()('@trpc/react-query', () => {
  const browser = browserForEachTest();

  it('shows the whole text once, also through a cut, and upstream is asked once', async () => {
    const { url, upstream } = test.current;
    await using proxy = await startTcpProxy(url);
    upstream.enqueue({ kind: 'manual' });
    const page = await browser.open(`${proxy.url}/healthz`);
    await page.evaluate(await bundle());
    await page.evaluate(`show('hi', '${crypto.randomUUID()}')`);
    const request = await upstream.nextRequest();
    await request.text('half ');
    await page.waitForFunction('document.querySelector("main")?.textContent === "half "');
    proxy.cut();
    await request.text('and half');
    request.finish();
    await page.waitForFunction('document.querySelector("main").textContent === "half and half"');
    expect(upstream.requestCount).toBe(1);
    await page.close();
  });
});
