// A real server process for the tests: LOSSD_BIN says where lossd is.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Top of the repository. */
export const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
/** The package. */
export const PACKAGE = join(ROOT, 'client/node');

const BIN = process.env.LOSSD_BIN ?? join(ROOT, 'build/release/bin');

// The runner ends a file that takes too long with SIGTERM, which by itself runs no exit handler.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));

/** lossd on a free port and on a Unix socket. */
export class Server {
  private constructor(
    readonly process: ChildProcess,
    readonly directory: string,
    readonly tcp: string,
  ) {}

  get unix(): string {
    return `unix:${this.directory}/lossd.sock`;
  }

  /** Where `listen` is an address of its own, the server listens there and not on a free port. */
  static async start(flags: readonly string[] = [], listen = '127.0.0.1:0'): Promise<Server> {
    const directory = await mkdtemp(join(tmpdir(), 'lossd-node-'));
    const args = ['--listen', listen, '--listen', `unix:${directory}/lossd.sock`, '--threads', '2', ...flags];
    const child = spawn(join(BIN, 'lossd'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
    // A test that dies must not leave its server behind.
    process.once('exit', () => child.kill());
    const tcp = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => {
        reject(new Error(`lossd ended with ${String(code)}`));
      });
      createInterface(child.stderr).on('line', (line) => {
        const found = /listen=([0-9.]+:\d+),/.exec(line);
        if (found?.[1] !== undefined) resolve(found[1]);
      });
    });
    return new Server(child, directory, tcp);
  }

  /** Ends the server; SIGKILL breaks its connections at once. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill(signal);
    await ended;
    await rm(this.directory, { recursive: true, force: true });
  }
}
