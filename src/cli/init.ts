/**
 * `init`: writes the first files of a project. Overwrites no file, and changes neither package.json nor tsconfig.json: it prints
 * what they need.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { configFileDefault } from '../settings/service-variables.ts';
import type { Host } from './host.ts';

const configFile = `// ${configFileDefault}
import type { LlmRouter } from 'llm-service';
import { defineConfigs } from 'llm-service/config';

const configs = defineConfigs({
  default: {
    model: 'claude-sonnet-5-5',
    max_tokens: 8_192,
    system_prompt: 'You are a capable, honest assistant.',
  },
  tutor: {
    model: 'claude-sonnet-5-5',
    max_tokens: 8_192,
    system_prompt: 'You are a patient tutor of {{subject}}.', // {{subject}}: a variable that clients must give
    on_disconnect: { cancel_after_ms: 15_000 }, // or 'continue'
  },
});

export default configs;
export type AppRouter = LlmRouter<typeof configs>; // for clients, which see names and variables, never a prompt
`;

/** A `.mts` file, since it awaits at its top level. A `.ts` file may do so only where package.json has `"type": "module"`. */
const clientFile = `// ask.mts
import { createLlmClient } from 'llm-service/client';
import type { AppRouter } from './${configFileDefault}';

const llm = createLlmClient<AppRouter>({ url: 'http://127.0.0.1:3000', transport: 'sse' });
const run = llm.stream({
  config: 'default', // a typo here, or a prompt variable that is missing, does not compile
  messages: [{ role: 'user', content: 'How does resume work?' }],
});
for await (const event of run) {
  if (event.type === 'text') process.stdout.write(event.text);
  if (event.type === 'error') console.error(\`\${event.code}: \${event.message}\`);
}
`;

/** The text of each file that `init` writes, by its name. README shows the same. */
export const startingFiles: Readonly<Record<string, string>> = {
  [configFileDefault]: configFile,
  'ask.mts': clientFile,
};

/** Prints the names of the files that it wrote. @throws the file system's error where one can't be written. */
export async function init(host: Host): Promise<void> {
  for (const [name, text] of Object.entries(startingFiles)) {
    if (await writeNew(join(host.cwd, name), text)) await host.stdout.write(`${name}\n`);
    else host.note(`${name} exists already and is not changed`);
  }
  for (const line of await nextSteps(host.cwd)) host.note(line);
}

/** Resolves to false, and writes nothing, where a file of the name exists. */
async function writeNew(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function nextSteps(folder: string): Promise<string[]> {
  return [
    '',
    ...(isInstalledIn(folder) ? [] : ['This folder has no llm-service installed yet, which both files import.']),
    'Next: `npx llm-service serve`, and in a second terminal `npx -y tsx ask.mts`.',
    'To check their types: `npm install --save-dev typescript @types/node`, and in tsconfig.json under "compilerOptions"',
    '  "module": "nodenext", "types": ["node"], "strict": true',
    ...((await isModule(folder)) ? [] : ['and in package.json "type": "module": `npm pkg set type=module`.']),
  ];
}

function isInstalledIn(folder: string): boolean {
  try {
    createRequire(join(folder, 'ask.mts')).resolve('llm-service/package.json');
    return true;
  } catch {
    return false;
  }
}

async function isModule(folder: string): Promise<boolean> {
  const manifest = await readFile(join(folder, 'package.json'), 'utf8').catch(() => '{}');
  return /"type"\s*:\s*"module"/.test(manifest);
}
