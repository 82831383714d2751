// A root of its own, so that these tests run only when asked for.
import { defineConfig } from 'vitest/config';

export default defineConfig({});
