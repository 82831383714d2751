/** nginx with the file of deploy/, in front of instances of a test. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';
import { freePorts } from './free-port.ts';
import { send } from './raw-http.ts';
import { selfSigned } from './self-signed.ts';

export interface ShippedNginx extends AsyncDisposable {
  /** Its listener without TLS, with the prefix if there is one. */
  readonly url: string;
  /** Its listener with TLS and HTTP/2, with the prefix if there is one. */
  readonly secureUrl: string;
  /** Its listener on port 80, which leads browsers to the listener with TLS. */
  readonly redirectUrl: string;
  /** `nginx -s reload`. The workers that are replaced cut what they still serve after a tenth of a second. */
  reload(): Promise<void>;
}

export interface ShippedNginxOptions {
  /** The ports of the two instances, which may be one. */
  readonly instances: readonly [number, number];
  /** Serves them under this path, such as `/ai/`, by the change that the file's own comment describes. */
  readonly prefix?: string;
}

/** Runs the configuration that is shipped, with the ports and paths of the test in place of its own. */
export async function startShippedNginx({ instances, prefix = '/' }: ShippedNginxOptions): Promise<ShippedNginx> {
  const [plain, secure, redirecting] = (await freePorts(3)) as [number, number, number];
  const folder = await mkdtemp(join(tmpdir(), 'nginx-'));
  // Its workers may have another user than its first process, and keep large bodies there.
  await chmod(folder, 0o755);
  const inFolder = (name: string) => join(folder, name);
  const shipped = await readFile(new URL('../../deploy/nginx.conf', import.meta.url), 'utf8');
  const server = replaced(shipped, [
    ['listen 80;', `listen 127.0.0.1:${redirecting};`],
    ['listen 443 ssl http2;', `listen 127.0.0.1:${secure} ssl http2;`],
    ['listen 127.0.0.1:8080;', `listen 127.0.0.1:${plain};`],
    ['/etc/llm-service/tls/fullchain.pem', inFolder('fullchain.pem')],
    ['/etc/llm-service/tls/privkey.pem', inFolder('privkey.pem')],
    ['server 127.0.0.1:3001 ', `server 127.0.0.1:${instances[0]} `],
    ['server 127.0.0.1:3002 ', `server 127.0.0.1:${instances[1]} `],
    ...(prefix === '/'
      ? []
      : ([
          ['location / {', `location ${prefix} {`],
          ['proxy_pass http://llm_service;', 'proxy_pass http://llm_service/;'],
        ] as const)),
  ]);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const paths = temporary.map((name) => `${name}_temp_path ${inFolder(name)};`).join(' ');
  await writeFile(
    inFolder('nginx.conf'),
    `daemon off; pid ${inFolder('pid')}; error_log ${inFolder('error.log')}; worker_processes 1;
worker_shutdown_timeout 100ms;
events { worker_connections 1024; }
http { access_log off; ${paths}
${server}
}`,
  );
  await writeFile(inFolder('fullchain.pem'), selfSigned.cert);
  await writeFile(inFolder('privkey.pem'), selfSigned.key);
  const args = ['-c', inFolder('nginx.conf'), '-p', folder, '-e', inFolder('error.log')];
  const child = spawn('nginx', args, { stdio: 'ignore' });
  const path = prefix.replace(/\/$/, '');
  const url = `http://127.0.0.1:${plain}${path}`;
  const dispose = async () => {
    await stop(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await eventually(async () => {
      if (child.exitCode !== null) throw new Error(await readFile(inFolder('error.log'), 'utf8'));
      await send(`${url}/healthz`);
    });
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    url,
    secureUrl: `https://127.0.0.1:${secure}${path}`,
    redirectUrl: `http://127.0.0.1:${redirecting}${path}`,
    async reload() {
      await promisify(execFile)('nginx', [...args, '-s', 'reload']);
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Fails where the text has no such part: what is run then would no longer be what is shipped. */
function replaced(text: string, pairs: readonly (readonly [string, string])[]): string {
  return pairs.reduce((all, [part, by]) => {
    if (!all.includes(part)) throw new Error(`deploy/nginx.conf has no ${part}`);
    return all.replace(part, by);
  }, text);
}

/** nginx's fast shutdown: its workers go with it. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
