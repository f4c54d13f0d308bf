/** The rollout document as a file: read at start, followed from then on. A document that is not valid never replaces one that is. */
import { statSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { readIfThere } from './durable-files';
import { messageOf } from './local-errors';
import type { RolloutDocument } from '../../../src/contract';
import { Listeners } from '../../core/listeners';
import type { Logger, RolloutSource } from '../../core/ports';
import { parseRollout } from '../../core/rollout';

/** Milliseconds between two looks at the file: polling sees renames on every file system, which notifications do not. */
const LOOK_EVERY = 200;

export class FileRolloutSource implements RolloutSource {
  private document: RolloutDocument | undefined;
  private text: string | undefined;
  /** Of the file that was read last: changes whenever the file may have changed. */
  private stamp: string | undefined;
  private readonly listeners = new Listeners<RolloutDocument>();
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly file: string, private readonly logger: Logger) {
    this.refresh();
    this.timer = setInterval(() => {
      if (this.look() !== this.stamp) this.refresh();
    }, LOOK_EVERY).unref();
  }

  current(): RolloutDocument | undefined {
    return this.document;
  }

  onChange(callback: (document: RolloutDocument) => void): () => void {
    return this.listeners.add(callback);
  }

  /** Reads the file now, rather than at the next look. */
  refresh(): void {
    const kept = this.document ? 'the last good document stays in force' : 'no version is released';
    let text: string | undefined;
    let document: RolloutDocument;
    try {
      // before the file is read: a change in between is seen at the next look
      this.stamp = this.look();
      text = readIfThere(this.file);
      if (text === this.text) return;
      this.text = text;
      if (text === undefined) {
        this.logger.warn({ file: this.file }, `the rollout document is gone: ${kept}`);
        return;
      }
      document = parseRollout(text);
    } catch (error) {
      this.logger.error({ file: this.file, error: (error as Error).message }, `the rollout document is not valid: ${kept}`);
      return;
    }
    if (isDeepStrictEqual(document, this.document)) return;
    this.document = document;
    this.listeners.tell(document);
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.listeners.clear();
  }

  private look(): string {
    try {
      const stat = statSync(this.file, { bigint: true, throwIfNoEntry: false });
      return stat ? `${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}` : '';
    } catch (error) {
      // reading the file says what is wrong with it
      return messageOf(error);
    }
  }
}
