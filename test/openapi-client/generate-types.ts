/**
 * Makes TypeScript of an OpenAPI document with openapi-typescript. A workspace of its own, since that package needs an
 * older TypeScript than the one that this project is written in.
 */
import openapiTypescript, { astToString, type OpenAPI3 } from 'openapi-typescript';

export async function generateTypes(document: unknown): Promise<string> {
  return astToString(await openapiTypescript(document as OpenAPI3));
}
