/** A first version that many people write: the SDK's stream, with each event written to the response. */
import Anthropic from '@anthropic-ai/sdk';
import { text } from 'node:stream/consumers';
import { listen, upstreamUrl } from './listen.ts';

const anthropic = new Anthropic({ baseURL: upstreamUrl, apiKey: 'sk-bench' });

listen((request, response) => {
  const relay = async () => {
    const { messages } = JSON.parse(await text(request)) as { messages: Anthropic.MessageParam[] };
    const stream = await anthropic.messages.create({
      model: 'claude-sonnet-5-5',
      max_tokens: 100_000,
      messages,
      stream: true,
    });
    response.on('close', () => stream.controller.abort());
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for await (const event of stream) response.write(`data: ${JSON.stringify(event)}\n\n`);
    response.end();
  };
  relay().catch(() => response.destroy());
});
