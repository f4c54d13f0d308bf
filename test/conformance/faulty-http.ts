import { FaultProxy } from '../support/fault-proxy';
import { HttpFaults } from '../support/http-faults';

/** A server over HTTP behind all that can go wrong with it: its network, and its own answers. */
export class FaultyHttp {
  /**
   * @param port   of the server
   * @param marker what every request that counts holds
   */
  static async start(port: number, marker: string): Promise<FaultyHttp> {
    const faulty = new FaultyHttp(await HttpFaults.start(port));
    faulty.network = await FaultProxy.start(faulty.answers.port, {
      record: (chunk, direction) => {
        if (direction === 'up') faulty.requests += chunk.toString('latin1').split(marker).length - 1;
      },
    });
    return faulty;
  }

  network!: FaultProxy;
  /** That arrived. */
  requests = 0;

  private constructor(readonly answers: HttpFaults) {}

  /** Where clients find it. */
  get port(): number {
    return this.network.port;
  }

  heal(): void {
    this.network.set({ kind: 'pass' });
    this.answers.pass();
  }

  async close(): Promise<void> {
    await this.network.close();
    await this.answers.close();
  }
}
