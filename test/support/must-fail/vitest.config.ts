// An own root, so that these run only when asked for.
import { defineConfig } from 'vitest/config';

export default defineConfig({});
