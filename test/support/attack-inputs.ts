/**
 * Requests to `llm.stream` of very many pieces, as JSON: small to send, but expensive to hold, to check or to describe.
 */

const message = (content: string) => `{"role":"user","content":${content}}`;
const request = (fields: string) => `{"config":"default",${fields}}`;
const list = (piece: string, times: number) => `[${`${piece},`.repeat(times - 1)}${piece}]`;
const entries = (times: number, value: string) =>
  Array.from({ length: times }, (_, index) => `"k${index}":${value}`).join();

/**
 * Requests that must be refused, each by another check. They are smaller than ten mebibytes, and at least as large as
 * the ones that once did harm.
 */
export const manyPieces: Readonly<Record<string, () => string>> = {
  'empty blocks in many messages': () => request(`"messages":${list(message(list('{}', 1_000)), 2_000)}`),
  'bad variables': () => request(`"messages":[${message('"x"')}],"variables":{${entries(700_000, '1')}}`),
  'unknown variables': () => request(`"messages":[${message('"x"')}],"variables":{${entries(500_000, '"x"')}}`),
  'a long config': () => `{"config":"${'x'.repeat(10_000_000)}","messages":[${message('"x"')}]}`,
  'messages that are none': () => request(`"messages":${list('1', 4_000_000)}`),
  'messages of unknown roles': () => request(`"messages":${list(`{"role":"${'x'.repeat(100)}","content":1}`, 70_000)}`),
  'a message with a long role': () => request(`"messages":[{"role":"${'x'.repeat(9_000_000)}","content":""}]`),
  'unknown keys': () => request(`"messages":[${message('"x"')}],${entries(600_000, '0')}`),
  'a long unknown key': () => request(`"messages":[${message('"x"')}],"${'k'.repeat(9_000_000)}":0`),
  'a long generationId': () => request(`"messages":[${message('"x"')}],"generationId":"${'x'.repeat(9_000_000)}"`),
  'a long lastEventId': () => request(`"messages":[${message('"x"')}],"lastEventId":"${'x'.repeat(9_000_000)}"`),
  'a long name of a variable': () =>
    request(`"messages":[${message('"x"')}],"variables":{"${'v'.repeat(9_000_000)}":"x"}`),
  'a deep block': () =>
    request(`"messages":[${message(`[{"type":"x","a":${'['.repeat(4_000_000)}${']'.repeat(4_000_000)}}]`)}]`),
  'nested brackets': () => '['.repeat(10_000_000),
  'nested objects': () => '{"a":'.repeat(2_000_000),
};

/** Requests that may be accepted or refused, and are expensive to check, to hash and to hold. */
export const manyNodes: Readonly<Record<string, () => string>> = {
  numbers: () => request(`"messages":[${message(`[{"type":"x","a":${list('0', 4_500_000)}}]`)}]`),
  'empty objects': () => request(`"messages":[${message(`[{"type":"x","a":${list('{}', 3_000_000)}}]`)}]`),
  'keys of one object': () => request(`"messages":[${message(`[{"type":"x","a":{${entries(700_000, '0')}}}]`)}]`),
  'short blocks': () => request(`"messages":${list(message(list('{"type":"x"}', 380)), 2_000)}`),
  escapes: () => request(`"messages":[${message(`"${'\\u0041'.repeat(1_500_000)}"`)}]`),
  'one long text': () => request(`"messages":[${message(`"${'x'.repeat(9_500_000)}"`)}]`),
};
