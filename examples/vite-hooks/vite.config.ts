import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  // `npm run service` listens there. Vite serves the page, and passes on what is for the service.
  server: { proxy: { '/trpc': { target: 'http://127.0.0.1:3000', ws: true } } },
});
