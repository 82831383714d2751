/** If a component throws while it renders, only this part of the page is replaced, not everything around it. */
import { Component, type ReactNode } from 'react';

interface ErrorBoundaryProps {
  /** Shown in place of the part that threw. */
  readonly fallback: ReactNode;
  readonly children: ReactNode;
}

export class ErrorBoundary extends Component<ErrorBoundaryProps, { readonly broken: boolean }> {
  override readonly state = { broken: false };

  static getDerivedStateFromError(): { readonly broken: boolean } {
    return { broken: true };
  }

  override render(): ReactNode {
    return this.state.broken ? this.props.fallback : this.props.children;
  }
}
