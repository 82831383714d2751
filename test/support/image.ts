/**
 * Makes what an image would hold, by the steps of deploy/Dockerfile, without a container engine: a folder stands for the file system
 * of each stage. Knows as much of the language as that file uses, and fails at anything else.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const exec = promisify(execFile);

/** A stage, and in the end the image. */
export interface Image {
  /** What stands for `/`. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly user: string;
  readonly ports: readonly number[];
  readonly command: readonly string[];
  readonly healthcheck: readonly string[];
}

export interface Instruction {
  readonly name: string;
  readonly words: string;
}

/** The instructions of deploy/Dockerfile, without comments, each on one line. */
export async function readDockerfile(): Promise<readonly Instruction[]> {
  const text = await readFile(join(root, 'deploy/Dockerfile'), 'utf8');
  const lines = text.replace(/^#.*\n/gm, '').replace(/\\\n\s*/g, '');
  return [...lines.matchAll(/^([A-Z]+) (.+)$/gm)].map(([, name, words]) => ({ name: name!, words: words! }));
}

/** @param scratch A folder for all stages, outside of this repository, so that no program finds packages here. */
export async function buildImage(scratch: string): Promise<Image> {
  const allowed = await allowedInContext();
  const stages = new Map<string, Image>();
  let stage: Image | undefined;
  let name = '';
  for (const { name: instruction, words } of await readDockerfile()) {
    if (instruction === 'ARG') continue;
    if (instruction === 'FROM') {
      const [base = '', , as = 'image'] = words.split(' ');
      stage = await newStage(join(scratch, as), stages.get(base));
      name = as;
    } else if (stage) {
      stage = await step(stage, name, instruction, words, { stages, allowed });
    }
    if (stage) stages.set(name, stage);
  }
  return stages.get('image')!;
}

async function newStage(folder: string, base: Image | undefined): Promise<Image> {
  await mkdir(folder, { recursive: true });
  if (base) await cp(base.folder, folder, { recursive: true, verbatimSymlinks: true });
  return { env: {}, workdir: '/', user: 'root', ports: [], command: [], healthcheck: [], ...base, folder };
}

interface Sources {
  readonly stages: ReadonlyMap<string, Image>;
  readonly allowed: (path: string) => boolean;
}

async function step(stage: Image, name: string, instruction: string, words: string, sources: Sources): Promise<Image> {
  switch (instruction) {
    case 'WORKDIR':
      await mkdir(join(stage.folder, words), { recursive: true });
      return { ...stage, workdir: words };
    case 'ENV':
      return {
        ...stage,
        env: { ...stage.env, ...Object.fromEntries(words.split(' ').map((pair) => pair.split('='))) },
      };
    case 'COPY':
      await copy(stage, words.split(' '), sources);
      return stage;
    case 'RUN':
      await run(stage, name, words);
      return stage;
    case 'USER':
      return { ...stage, user: words };
    case 'EXPOSE':
      return { ...stage, ports: words.split(' ').map(Number) };
    case 'CMD':
      return { ...stage, command: JSON.parse(words) as string[] };
    case 'HEALTHCHECK':
      return { ...stage, healthcheck: JSON.parse(words.replace(/^.*? CMD /, '')) as string[] };
    case 'STOPSIGNAL':
      return stage;
    default:
      throw new Error(`deploy/Dockerfile has an instruction that this doesn't know: ${instruction}`);
  }
}

async function copy(stage: Image, words: readonly string[], { stages, allowed }: Sources): Promise<void> {
  const from = /^--from=(.+)/.exec(words[0]!)?.[1];
  const paths = from === undefined ? [...words] : words.slice(1);
  const target = join(stage.folder, stage.workdir, paths.at(-1)!);
  const intoFolder = paths.at(-1)!.endsWith('/');
  for (const path of paths.slice(0, -1)) {
    const source = from === undefined ? join(root, path) : join(stages.get(from)!.folder, path);
    const isFolder = (await stat(source)).isDirectory();
    const to = intoFolder && !isFolder ? join(target, basename(path)) : target;
    await mkdir(dirname(to), { recursive: true });
    await cp(source, to, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (each) => from !== undefined || (each === source && isFolder) || allowed(relative(root, each)),
    });
    if (from === undefined && !isFolder) await stat(to);
  }
}

async function run(stage: Image, name: string, command: string): Promise<void> {
  const cwd = join(stage.folder, stage.workdir);
  // It would install what this repository has installed already.
  if (name === 'build' && command.startsWith('npm ci')) {
    for (const folder of ['node_modules', 'client-example/node_modules']) {
      if (existsSync(join(root, folder))) await symlink(join(root, folder), join(cwd, folder));
    }
    return;
  }
  const { NODE_ENV: _ofTests, ...env } = process.env;
  await exec('sh', ['-c', command], {
    cwd,
    env: { ...env, npm_config_prefer_offline: 'true', npm_config_update_notifier: 'false', ...stage.env },
    maxBuffer: 2 ** 26,
  });
}

/** Whether a build may see a file of the repository, by deploy/Dockerfile.dockerignore: the last pattern that fits counts. */
async function allowedInContext(): Promise<(path: string) => boolean> {
  const text = await readFile(join(root, 'deploy/Dockerfile.dockerignore'), 'utf8');
  const patterns = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return (path) => {
    const last = patterns.findLast((pattern) => fits(path, pattern.replace(/^!/, '')));
    return last?.startsWith('!') ?? true;
  };
}

function fits(path: string, pattern: string): boolean {
  if (pattern === '*') return true;
  if (pattern.startsWith('**/')) return path.split('/').includes(pattern.slice('**/'.length));
  return path === pattern || path.startsWith(`${pattern}/`);
}
