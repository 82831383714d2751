#!/usr/bin/env node
/**
 * The command line: runs a command, and turns an error that it throws into a message and an exit code. No other file reads argv
 * or the environment. Data goes to stdout, everything else to stderr.
 */
import { exitCodes, explain, type ExitCode } from './cli/exit-codes.ts';
import { Output, withoutControls } from './cli/host.ts';
import { createProgram } from './cli/program.ts';

const { env, stdin, stdout, stderr } = process;
const note = (line: string) => void stderr.write(`${withoutControls(line)}\n`);
const exitWith = (code: ExitCode) => {
  if (code !== exitCodes.success) process.exitCode ??= code;
};
// An error of stderr can't be reported anywhere.
stderr.on('error', () => {});
const output = new Output(stdout, ({ message }) => {
  note(`error: stdout can't be written: ${message}`);
  exitWith(exitCodes.failure);
});

try {
  await createProgram({ env, cwd: process.cwd(), stdin, stdout: output, stderr, note, exitWith }).parseAsync();
} catch (thrown) {
  const { code, message } = explain(thrown);
  if (message !== undefined) note(`error: ${message}`);
  exitWith(code);
}
