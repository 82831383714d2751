/**
 * A chat route on the Vercel AI SDK, as its documentation writes it. The SDK is installed only if peers are measured.
 */
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import type { ServerResponse } from 'node:http';
import { listen, upstreamUrl } from './listen.ts';

/** The parts of the packages that are used here. The packages are not installed when this file is compiled. */
interface Ai {
  readonly streamText: (options: { model: unknown; messages: unknown; abortSignal: AbortSignal }) => {
    pipeUIMessageStreamToResponse(response: ServerResponse): void;
  };
}
interface Provider {
  readonly createAnthropic: (options: { baseURL: string; apiKey: string }) => (model: string) => unknown;
}

const peers = createRequire(`${process.env['BENCH_PEERS']}/package.json`);
const load = async (name: string) => (await import(pathToFileURL(peers.resolve(name)).href)) as unknown;
const { streamText } = (await load('ai')) as Ai;
const { createAnthropic } = (await load('@ai-sdk/anthropic')) as Provider;
const anthropic = createAnthropic({ baseURL: `${upstreamUrl}/v1`, apiKey: 'sk-bench' });

listen((request, response) => {
  const answer = async () => {
    const { messages } = JSON.parse(await text(request)) as { messages: unknown };
    const left = new AbortController();
    response.on('close', () => left.abort());
    const result = streamText({ model: anthropic('claude-sonnet-5-5'), messages, abortSignal: left.signal });
    result.pipeUIMessageStreamToResponse(response);
  };
  answer().catch(() => response.destroy());
});
