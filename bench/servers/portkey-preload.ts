/**
 * Loaded before the Portkey gateway: 1.15 appends to the headers of a fetched response, which Node refuses, so that every
 * request fails. A response made of the fetched one has headers that can be changed; its body is the same stream.
 */
const nativeFetch = globalThis.fetch;
const NativeResponse = globalThis.Response;

globalThis.fetch = async (input, init) => {
  const response = await nativeFetch(input, init);
  return new NativeResponse(response.body, response);
};
