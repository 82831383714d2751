/** The page as tests handle it: by what a person sees and a screen reader reads. */
import type { Locator, Page } from 'playwright-core';
import { expect } from 'vitest';
import type { Simulator, SimulatorRequest } from '../../src/simulator.ts';
import { eventually } from './eventually.ts';

export function composer(page: Page): Locator {
  return page.getByRole('textbox', { name: 'Message', exact: true });
}

export function log(page: Page): Locator {
  return page.getByRole('log');
}

export async function askOnPage(page: Page, prompt: string): Promise<void> {
  await composer(page).fill(prompt);
  await composer(page).press('Enter');
}

/** Asks, and doesn't wait for the answer. */
export async function askAndSteer(page: Page, upstream: Simulator, prompt: string): Promise<SimulatorRequest> {
  upstream.enqueue({ kind: 'manual' });
  await askOnPage(page, prompt);
  return upstream.nextRequest();
}

export async function useTransport(page: Page, transport: 'SSE' | 'WebSocket'): Promise<void> {
  await page.getByRole('radio', { name: transport }).check({ force: true });
}

/**
 * Waits until the last answer contains the text. If the text is meant as the whole answer, nothing else may be there.
 */
export async function answerShown(page: Page, text: string, { whole = false } = {}): Promise<void> {
  const answer = page.locator('.conversation:not([hidden]) .turn:last-child .markdown');
  await answer.filter({ hasText: text }).waitFor();
  if (!whole) return;
  await eventually(async () => expect((await answer.innerText()).replaceAll(/\s+/g, ' ').trim()).toBe(text));
}

/** Waits until the last answer has ended and shows what it cost. */
export async function answerEnded(page: Page): Promise<void> {
  await page.locator('.conversation:not([hidden]) .turn:last-child .stats').waitFor();
}
