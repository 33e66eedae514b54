import { D2vError } from '@d2v/core';
import { OtherModel, Peer, type PeerOptions } from './peer.js';

/** The peers of one measurement. One that fails says why and is left out from then on; the others are still measured. */
export class Peers {
  private running: Peer[] = [];
  private readonly all: Peer[] = [];
  /** What could not be measured, and why. */
  readonly failures: { name: string; reason: string }[] = [];

  /** @param expected settings that a peer must report as its own */
  constructor(private readonly expected: Record<string, unknown>) {}

  /** Those of which there are figures. */
  get measured(): readonly Peer[] {
    return this.all.filter(({ seconds }) => seconds.length > 0);
  }

  /** Starts another one; compiling takes minutes. @returns whether it runs */
  async start(options: PeerOptions): Promise<boolean> {
    try {
      const peer = await Peer.start(options);
      this.all.push(peer);
      this.running.push(peer);
      return true;
    } catch (error) {
      this.fail(Peer.nameOf(options), error);
      return false;
    }
  }

  /** So many updates of each that runs, one after the other. @returns what is to be said of each */
  async run(updates: number): Promise<string[]> {
    const said: string[] = [];
    for (const peer of this.running) {
      try {
        const graphs = peer.last?.graphs;
        const { median, graphs: now } = await peer.run(updates);
        peer.checkConfig(this.expected);
        const again = graphs !== undefined && now > graphs ? ' (compiled again meanwhile)' : '';
        said.push(`${peer.name} ${(median * 1000).toFixed(2)} ms${again}`);
      } catch (error) {
        if (error instanceof OtherModel) peer.seconds.length = 0;
        this.running = this.running.filter((other) => other !== peer);
        await peer.stop();
        this.fail(peer.name, error);
        said.push(`${peer.name} failed`);
      }
    }
    return said;
  }

  async stop(): Promise<void> {
    for (const peer of this.running) await peer.stop();
  }

  private fail(name: string, error: unknown): void {
    if (!(error instanceof D2vError)) throw error;
    console.error(`${name}: ${error.message}`);
    this.failures.push({ name, reason: reason(error) });
  }
}

/** The line of a Python traceback that names the error. */
function reason({ message }: D2vError): string {
  const lines = message.split('\n').filter((line) => /^[\w.]*Error\b/.test(line));
  return (lines.at(-1) ?? message.split('\n')[0]!).slice(0, 300);
}
