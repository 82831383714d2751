/**
 * The grammar of the command line: every command, argument and option, and the help. What a command does is loaded when
 * it runs, so that help and problems come at once.
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
  showsAnswer,
  takesRemote,
  wholeNumber,
  type RemoteOptions,
  type ShowOptions,
} from './options.ts';

const urlDefault = 'http://127.0.0.1:3000';
const simulatorPortDefault = 8787;

/** Parsing throws a CommanderError where it would end the process. */
export function createProgram(host: Host): Command {
  const program = new Command('llm-service')
    .description('Streams LLM answers to typed clients.')
    .option('-V, --version', 'print the version')
    .on('option:version', () => printVersion(host))
    .exitOverride()
    .showHelpAfterError('(--help tells more)')
    .addHelpText('after', exitCodesHelp);

  program
    .command('serve')
    .description('listen, and serve the configs of LLM_CONFIG')
    .addHelpText('after', serveHelp)
    .action(async () => (await import('./serve.ts')).serve(host));

  program
    .command('init')
    .description('write llm.config.ts, and ask.mts, a client, into this folder')
    .addHelpText('after', initHelp)
    .action(async () => (await import('./init.ts')).init(host));

  const chat = program
    .command('chat')
    .description('stream one answer to stdout')
    .argument('<config>', 'the name of a config')
    .argument('[prompt...]', 'what to say')
    .option('--var <name=value>', 'a variable of the prompt; may be repeated', collectVariable)
    .option('-c, --continue', 'go on with the last conversation')
    .option('-n, --no-keep', 'do not keep this conversation for -c')
    .option('--stdin', 'wait for stdin to its end, also where a pipe keeps silent; so does - in place of a prompt')
    .option('--no-stdin', 'do not read stdin');
  takesRemote(showsAnswer(chat))
    .addHelpText('after', chatHelp)
    .action(async (config: string, words: string[], options: ChatOptions) =>
      (await import('./chat.ts')).chat(host, config, words, options),
    );

  const follow = program
    .command('follow')
    .description('stream an answer of a service to stdout, from its beginning')
    .argument('<generationId>', 'its id, which its start event tells', parseGenerationId);
  takesRemote(showsAnswer(follow), urlDefault)
    .addHelpText('after', followHelp)
    .action(async (generationId: string, options: ThereOptions & ShowOptions) =>
      (await import('./generations.ts')).follow(host, generationId, options),
    );

  const cancel = program
    .command('cancel')
    .description('stop an answer of a service, and its call to the model')
    .argument('<generationId>', 'its id, which its start event tells', parseGenerationId);
  takesRemote(cancel, urlDefault)
    .addHelpText('after', cancelHelp)
    .action(async (generationId: string, options: ThereOptions) =>
      (await import('./generations.ts')).cancel(host, generationId, options),
    );

  const configs = program
    .command('configs')
    .description('list the configs: name, model, variables, description')
    .option('--json', 'as JSON, with all that clients may know');
  takesRemote(configs).action(async (options: RemoteOptions & { readonly json?: boolean }) =>
    (await import('./configs.ts')).listConfigs(host, options),
  );

  const config = program.command('config').description('look after the config file');
  config
    .command('check')
    .description('tell whether the configs can be served; if not, every problem on stderr and exit code 2')
    .argument('[file]', 'a file in place of that of LLM_CONFIG')
    .option('--strict', 'exit code 2 for warnings, too')
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
    .description('make a key for a caller, and its entry for LLM_API_KEYS')
    .argument('<name>', "the caller's name")
    .addHelpText('after', keyHelp)
    .action(async (name: string) => (await import('./key.ts')).makeKey(host, name));

  program
    .command('simulate')
    .description('run the simulator of the Messages API alone')
    .option('--port <port>', 'on 127.0.0.1; 0 takes any free port', wholeNumber(0, 65_535), simulatorPortDefault)
    .option('--fault <name>', 'what goes wrong with every answer', parseFault)
    .option('--seed <number>', 'of ids and pacing; 1 if absent', wholeNumber(0, 2 ** 32 - 1))
    .option('--tokens-per-second <number>', 'output tokens a second, or "unpaced"; 60 if absent', parsePace)
    .addHelpText('after', simulateHelp)
    .action(async (options: SimulatorOptions) => (await import('./simulate.ts')).simulate(host, options));
  return program;
}

/** Not by commander's own `version`, which would have package.json read for every command. */
function printVersion({ stdout }: Host): never {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { readonly version: string };
  void stdout.write(`${version}\n`);
  throw new CommanderError(0, 'commander.version', version);
}

// ------------------------------------------------------------------------------------------------------------- help

const exitCodesHelp = `
Exit codes: 0 all went well, 1 failure, or an answer that was refused or cut off, 2 usage or configuration, 3 not authorized, 4 limited or overloaded,
130 interrupted.`;

const serveHelp = `
Settings come from the environment; the README lists them. The log goes to stdout. Changes of the config file and
of the prompt files that it names are taken up as they come; what isn't valid is refused, with its reasons.
SIGTERM and Ctrl-C let running answers finish within LLM_DRAIN_MS; once more leaves at once. SIGHUP has the configs
read again.

Examples:
  $ llm-service serve                  # with no key: the built-in simulator answers
  $ ANTHROPIC_API_KEY=… PORT=8080 llm-service serve`;

const initHelp = `
Overwrites nothing, and changes neither package.json nor tsconfig.json. Prints the names of the files that it wrote.

Example:
  $ llm-service init && llm-service serve    # then, in a second terminal: npx -y tsx ask.mts`;

const chatHelp = `
What is piped in comes before the words. Beside words, a pipe that has delivered nothing after 5 s is left alone, and
the words are asked by themselves: CI runners, ssh and editors often leave one open. -c goes on with the last conversation, which is kept, as text, in
$XDG_STATE_HOME/llm-service/conversation.json (~/.local/state by default), for you alone to read.
Ctrl-C stops the answer and tells what it cost until then; once more leaves at once.

Examples:
  $ llm-service chat default "What is a viewer?"
  $ llm-service chat tutor --var subject=algebra "Where do I begin?"
  $ git diff | llm-service chat default "Write a commit message" -u
  $ llm-service chat default -c "Shorter, please"
  $ llm-service chat default --json hello | jq -r 'select(.type == "done").usage'
  $ llm-service chat default --url https://llm.example.com --token @key hello`;

const followHelp = '\nCtrl-C leaves the answer to go on; `llm-service cancel` stops it.';

const cancelHelp = '\nPrints `cancelled`, or `already_ended` where there was nothing left to stop.';

const keyHelp = `
Prints two lines: the key, which nobody can show again, and the entry, which holds no more than its SHA-256.

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
Prints its base URL once it listens. A message such as "/sim help" steers one answer.

Examples:
  $ llm-service simulate --tokens-per-second 20
  $ ANTHROPIC_BASE_URL=http://127.0.0.1:${simulatorPortDefault} llm-service serve

Faults:
${faults.map(({ name, description }) => `  ${name.padEnd(faultNameChars)}  ${description}`).join('\n')}`;
