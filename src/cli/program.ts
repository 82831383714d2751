/**
 * The grammar of the command line: every command, argument and option, and the help. The module of a command is loaded when the
 * command runs, so that help and errors appear without a delay.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { faults, type SimulatorOptions } from '../simulator.ts';
import type { ChatOptions } from './chat.ts';
import type { ThereOptions } from './generations.ts';
import type { Host } from './host.ts';
import {
  collectVariable,
  parseFault,
  parseGenerationId,
  parsePace,
  parseWorkers,
  showsAnswer,
  takesRemote,
  wholeNumber,
  type RemoteOptions,
  type ShowOptions,
} from './options.ts';

const urlDefault = 'http://127.0.0.1:3000';
const simulatorPortDefault = 8787;

/** Where commander would end the process, `parseAsync` throws a CommanderError. */
export function createProgram(host: Host): Command {
  const program = new Command('llm-service')
    .description('Streams LLM answers to typed clients.')
    .option('-V, --version', 'print the version')
    .on('option:version', () => printVersion(host))
    .exitOverride()
    .showHelpAfterError('(--help says more)')
    .addHelpText('after', exitCodesHelp);

  program
    .command('serve')
    .description('listen, and serve the configs of LLM_CONFIG')
    .option('--workers <n|auto>', 'share the port among so many processes, or one for each core', parseWorkers)
    .addHelpText('after', serveHelp)
    .action(async ({ workers }: { readonly workers?: number | 'auto' }) =>
      workers === undefined
        ? (await import('./serve.ts')).serve(host)
        : (await import('./workers/workers.ts')).serveByWorkers(host, workers),
    );

  program
    .command('init')
    .description('write llm.config.ts, and ask.mts, a client, into this folder')
    .addHelpText('after', initHelp)
    .action(async () => (await import('./init.ts')).init(host));

  const chat = program
    .command('chat')
    .description('stream one answer to stdout')
    .argument('<config>', 'the name of a config')
    .argument('[prompt...]', 'the prompt')
    .option('--var <name=value>', 'a variable of the system prompt; may be repeated', collectVariable)
    .option('-c, --continue', 'continue the last conversation')
    .option('-n, --no-keep', 'do not keep this conversation for -c')
    .option('--stdin', 'read stdin to its end, however long a pipe is silent; - in place of a prompt does the same')
    .option('--no-stdin', 'do not read stdin');
  takesRemote(showsAnswer(chat))
    .addHelpText('after', chatHelp)
    .action(async (config: string, words: string[], options: ChatOptions) =>
      (await import('./chat.ts')).chat(host, config, words, options),
    );

  const follow = program
    .command('follow')
    .description('stream an answer of a service to stdout, from its beginning')
    .argument('<generationId>', 'its id, from its start event', parseGenerationId);
  takesRemote(showsAnswer(follow), urlDefault)
    .addHelpText('after', followHelp)
    .action(async (generationId: string, options: ThereOptions & ShowOptions) =>
      (await import('./generations.ts')).follow(host, generationId, options),
    );

  const cancel = program
    .command('cancel')
    .description('stop an answer of a service, and its call to the model')
    .argument('<generationId>', 'its id, from its start event', parseGenerationId);
  takesRemote(cancel, urlDefault)
    .addHelpText('after', cancelHelp)
    .action(async (generationId: string, options: ThereOptions) =>
      (await import('./generations.ts')).cancel(host, generationId, options),
    );

  const configs = program
    .command('configs')
    .description('list the configs: name, model, variables, description')
    .option('--json', 'print them as JSON, with everything that clients may know');
  takesRemote(configs).action(async (options: RemoteOptions & { readonly json?: boolean }) =>
    (await import('./configs.ts')).listConfigs(host, options),
  );

  const config = program.command('config').description('check the config file, or print its JSON Schema');
  config
    .command('check')
    .description('check whether the configs can be served; if not, print every problem to stderr, with exit code 2')
    .argument('[file]', 'a config file in place of the one that LLM_CONFIG names')
    .option('--strict', 'exit with code 2 for warnings, too')
    .action(async (file: string | undefined, { strict = false }: { readonly strict?: boolean }) =>
      (await import('./configs.ts')).checkConfigs(host, file, strict),
    );
  config
    .command('schema')
    .description('print the JSON Schema of config files, for editors and language servers')
    .addHelpText('after', schemaHelp)
    .action(async () => (await import('./configs.ts')).printConfigSchema(host));

  program
    .command('key')
    .description('make a key for a caller, and its entry for LLM_API_KEYS or LLM_API_KEYS_FILE')
    .argument('<name>', "the caller's name")
    .addHelpText('after', keyHelp)
    .action(async (name: string) => (await import('./key.ts')).makeKey(host, name));

  program
    .command('simulate')
    .description('run the simulator of the Messages API alone')
    .option(
      '--port <port>',
      'the port on 127.0.0.1; 0 takes any free port',
      wholeNumber(0, 65_535),
      simulatorPortDefault,
    )
    .option('--fault <name>', 'the fault to play in every answer', parseFault)
    .option('--seed <number>', 'the seed of ids and pacing; default: 1', wholeNumber(0, 2 ** 32 - 1))
    .option('--tokens-per-second <number>', 'output tokens a second, or "unpaced"; default: 60', parsePace)
    .addHelpText('after', simulateHelp)
    .action(async (options: SimulatorOptions) => (await import('./simulate.ts')).simulate(host, options));
  return program;
}

/** commander's own `version` would read package.json for every command. */
function printVersion({ stdout }: Host): never {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { readonly version: string };
  void stdout.write(`${version}\n`);
  throw new CommanderError(0, 'commander.version', version);
}

// ------------------------------------------------------------------------------------------------------------- help

const exitCodesHelp = `
Exit codes: 0 all went well, 1 failure, or an answer that was refused or cut off, 2 usage or configuration,
3 not authorized, 4 limited or overloaded, 130 interrupted.`;

const serveHelp = `
Settings come from the environment; the README lists them. The log goes to stdout. The service reads the config file
and the prompt files that it names again when they change. If the new configs are not valid, it logs the reasons and
keeps the old ones. After SIGTERM or Ctrl-C, running answers may finish within LLM_DRAIN_MS; a second signal ends the
process at once. After SIGHUP the service reads the configs again.
--workers needs REDIS_URL, where the processes share their stream logs. One that dies is started again. After SIGUSR2
they are replaced one after the other, by processes that read code and configs anew; no answer is lost.

Examples:
  $ llm-service serve                  # with no key: the built-in simulator answers
  $ ANTHROPIC_API_KEY=… PORT=8080 llm-service serve
  $ REDIS_URL=redis://127.0.0.1 llm-service serve --workers auto`;

const initHelp = `
Overwrites no file, and changes neither package.json nor tsconfig.json. Prints the names of the files that it wrote.

Example:
  $ llm-service init && llm-service serve    # then, in a second terminal: npx -y tsx ask.mts`;

const chatHelp = `
The prompt is the text on stdin, then the words. With words, a pipe is waited for 5 s: if it has delivered nothing by
then, the words alone are the prompt, since CI runners, ssh and editors often leave a silent pipe open.
-c continues the last conversation. It is kept as text in $XDG_STATE_HOME/llm-service/conversation.json
(~/.local/state by default), which only you can read.
Ctrl-C stops the answer and prints what it has cost; a second Ctrl-C ends the process at once.

Examples:
  $ llm-service chat default "What is a viewer?"
  $ llm-service chat tutor --var subject=algebra "Where do I begin?"
  $ git diff | llm-service chat default "Write a commit message" -u
  $ llm-service chat default -c "Shorter, please"
  $ llm-service chat default --json hello | jq -r 'select(.type == "done").usage'
  $ llm-service chat default --url https://llm.example.com --token @key hello`;

const followHelp = '\nCtrl-C ends this command, and the answer goes on; `llm-service cancel` stops the answer.';

const cancelHelp = '\nPrints `cancelled`, or `already_ended` where the answer had ended before.';

const keyHelp = `
Prints two lines: the key, which can't be shown again, and its entry, which holds the caller's name and the SHA-256 of
the key. Where LLM_API_KEYS_FILE is set, the entry is one for that file.

Example:
  $ llm-service key alice > alice.key && tail -1 alice.key    # then: LLM_API_KEYS=<entry>,<other entries>`;

const schemaHelp = `
Example:
  $ llm-service config schema > llm.config.schema.json
then, as the first line of llm.config.yaml:
  # yaml-language-server: $schema=llm.config.schema.json
or in llm.config.json:
  "$schema": "./llm.config.schema.json",`;

const faultNameChars = Math.max(...faults.map(({ name }) => name.length));
const simulateHelp = `
Prints its base URL when it listens. A message such as "/sim help" controls one answer.

Examples:
  $ llm-service simulate --tokens-per-second 20
  $ ANTHROPIC_BASE_URL=http://127.0.0.1:${simulatorPortDefault} llm-service serve

Faults:
${faults.map(({ name, description }) => `  ${name.padEnd(faultNameChars)}  ${description}`).join('\n')}`;
