import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const service = process.env['LLM_SERVICE_URL'] ?? 'http://127.0.0.1:3000';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  // The service may stand behind a proxy under any path, which the page learns from its own address.
  base: './',
  plugins: [react()],
  // An app of its own has it from npm, by the conditions of its bundler.
  resolve: {
    alias: {
      'llm-service/client': fileURLToPath(new URL('../src/client/llm-client.ts', import.meta.url)),
      'llm-service/react': fileURLToPath(new URL('../src/react.ts', import.meta.url)),
    },
  },
  build: {
    target: 'es2022',
    // Nothing inline: the page is served under a policy that lets nothing inline run.
    assetsInlineLimit: 0,
    // What is bundled is handed on, and its licences with it; those of the fonts stand in public/.
    license: { fileName: 'licenses.md' },
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: { proxy: { '/trpc': { target: service, ws: true } } },
});
