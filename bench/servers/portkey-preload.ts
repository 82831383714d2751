/**
 * Loaded before the Portkey gateway. Version 1.15 appends to the headers of a fetched response; Node refuses that, so
 * every request would fail. This makes a new response of the fetched one, whose headers can be changed; its body is the
 * same stream.
 */
const nativeFetch = globalThis.fetch;
const NativeResponse = globalThis.Response;

globalThis.fetch = async (input, init) => {
  const response = await nativeFetch(input, init);
  return new NativeResponse(response.body, response);
};
