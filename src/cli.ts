#!/usr/bin/env node
/**
 * The command line. The only reader of argv, the environment and the operating system's signals. Data goes to stdout,
 * all else to stderr.
 */
import { Command } from 'commander';
import { FaultsError } from './faults.ts';
import { LlmError } from './errors.ts';
import { createCore, startService } from './service.ts';
import { readSettings, type Settings } from './settings.ts';
import { startSimulator } from './simulator.ts';

const exitCodes = { failure: 1, usage: 2 } as const;

const program = new Command('llm-service')
  .description('Streams LLM answers to typed clients.')
  .exitOverride()
  .showHelpAfterError();

program
  .command('serve')
  .description('listen and serve the configs of LLM_CONFIG')
  .action(async () => {
    const settings = readSettings(process.env);
    const service = await startService({ settings, env: process.env, cwd: process.cwd() });
    greet(service.url, settings);
    const signal = await stopSignal();
    process.stderr.write(`${signal}: finishing what runs; once more to leave at once\n`);
    void stopSignal().then(() => process.exit(exitCodes.failure));
    await service[Symbol.asyncDispose]();
  });

program
  .command('chat')
  .description('stream one answer to stdout')
  .argument('<config>', 'the name of a config')
  .argument('<prompt...>', 'what to say')
  .option('--var <name=value>', 'a variable of the prompt; may be repeated', collectVariable, {})
  .action(async (config: string, words: string[], { var: variables }: { var: Record<string, string> }) => {
    const settings = readSettings({ LOG_LEVEL: 'silent', ...process.env });
    await using core = await createCore({ settings, env: process.env, cwd: process.cwd() });
    const interrupt = new AbortController();
    void stopSignal().then(() => interrupt.abort());
    const request = { config, variables, messages: [{ role: 'user' as const, content: words.join(' ') }] };
    for await (const batch of core.generations.stream({ name: 'cli' }, request, interrupt.signal)) {
      for (const { event } of batch) {
        if (event.type === 'start' && event.simulated) process.stderr.write('(simulated)\n');
        if (event.type === 'text') process.stdout.write(event.text);
        if (event.type === 'done') process.stdout.write('\n');
        if (event.type === 'error') throw new LlmError(event.code, event.message);
      }
    }
  });

program
  .command('simulate')
  .description('run the simulator of the Messages API alone')
  .option('--port <port>', 'where to listen', '8787')
  .action(async ({ port }: { port: string }) => {
    await using simulator = await startSimulator({ port: Number(port) });
    process.stdout.write(`${simulator.url}\n`);
    await stopSignal();
  });

function greet(url: string, settings: Settings): void {
  process.stdout.write(`llm-service listens on ${url}\n`);
  if (!settings.simulate) return;
  process.stdout.write('No key is set (ANTHROPIC_API_KEY): answers come from the built-in simulator, and say so.\n');
}

function collectVariable(pair: string, variables: Record<string, string>): Record<string, string> {
  const at = pair.indexOf('=');
  if (at < 1) throw new LlmError('invalid_input', `--var ${pair}: expected name=value`);
  return { ...variables, [pair.slice(0, at)]: pair.slice(at + 1) };
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];
    const stop = (signal: NodeJS.Signals) => {
      for (const each of signals) process.off(each, stop);
      resolve(signal);
    };
    for (const each of signals) process.on(each, stop);
  });
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = fail(error);
}

/** Says what went wrong in one readable message; returns the exit code. */
function fail(error: unknown): number {
  if (error instanceof FaultsError) {
    process.stderr.write(`${error.message}\n`);
    return exitCodes.usage;
  }
  if (error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number') {
    // commander has told it already.
    return error.exitCode === 0 ? 0 : exitCodes.usage;
  }
  if (error instanceof LlmError) {
    process.stderr.write(`${error.message}\n`);
    return error.traits.status < 500 ? exitCodes.usage : exitCodes.failure;
  }
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return exitCodes.failure;
}
