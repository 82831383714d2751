import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app.tsx';
import { BrokenPage } from './page/broken-page.tsx';
import { ErrorBoundary } from './page/error-boundary.tsx';
import './styles/base.css';
import './styles/layout.css';
import './styles/chat.css';
import './styles/markdown.css';
import './styles/lab.css';

const queryClient = new QueryClient({
  defaultOptions: {
    // The client retries by itself. And the service may be on this machine, so being offline doesn't mean that it can't
    // be reached.
    queries: { retry: false, networkMode: 'always' },
    mutations: { retry: false, networkMode: 'always' },
  },
});

// An error boundary has already shown something else in place of what threw.
const onCaughtError = (error: unknown) => console.warn(error);

createRoot(document.getElementById('root')!, { onCaughtError }).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <ErrorBoundary fallback={<BrokenPage />}>
        <App />
      </ErrorBoundary>
    </QueryClientProvider>
  </StrictMode>,
);
