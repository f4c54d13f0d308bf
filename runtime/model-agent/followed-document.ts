/**
 * The document that is followed, on the volume: an agent that starts again while AppConfig does not answer goes by it. What counts is the one
 * that is followed, not the one that is kept: a volume that is full, or cannot be written to, is said once and never stops anything.
 */
import { dirname } from 'node:path';
import type { RolloutDocument } from '../../src/contract';
import { readIfThere, removeUnfinished, replaceFile } from '../adapters/local/durable-files';
import { messageOf, systemCode } from '../adapters/local/local-errors';
import type { Logger } from '../core/ports';
import { parseRollout } from '../core/rollout';

export interface FollowedDocumentOptions {
  readonly path: string;
  readonly logger: Logger;
  /** Until what could not be written is tried again, milliseconds. @default 30000 */
  readonly againMs?: number;
  /** Puts a file into place in one step. @default - on the disk, synced */
  readonly write?: (path: string, text: string) => void;
}

const AGAIN_MS = 30_000;

export class FollowedDocument {
  /** What is not on the volume yet. */
  private waiting: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  /** Kinds of failures that were said, since it last worked. */
  private readonly said = new Set<string>();

  constructor(private readonly options: FollowedDocumentOptions) {}

  /** The one that an earlier process of this pod followed; undefined where there is none, or none that can be read. */
  read(): RolloutDocument | undefined {
    const { path, logger } = this.options;
    try {
      const text = readIfThere(path);
      return text === undefined ? undefined : parseRollout(text);
    } catch (error) {
      logger.warn({ error: messageOf(error) }, 'the document that was followed before cannot be read');
      return undefined;
    }
  }

  /** Does not fail. Of documents that cannot be written the last one is tried again. */
  keep(document: RolloutDocument): void {
    this.waiting = JSON.stringify(document);
    this.write();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private write(): void {
    const { path, logger, write = replaceWhole, againMs = AGAIN_MS } = this.options;
    clearTimeout(this.timer);
    if (this.waiting === undefined || this.closed) return;
    try {
      write(path, this.waiting);
      this.waiting = undefined;
      if (this.said.size > 0) logger.info({}, 'the document that is followed is on the volume again');
      this.said.clear();
    } catch (error) {
      const code = systemCode(error) ?? 'INTERNAL';
      if (!this.said.has(code)) logger.error({ code, error: messageOf(error) }, 'the document that is followed cannot be kept on the volume: it is followed all the same');
      this.said.add(code);
      this.timer = setTimeout(() => this.write(), againMs).unref();
    }
  }
}

/** Takes along what a process left that was killed while it wrote. */
function replaceWhole(path: string, text: string): void {
  removeUnfinished(dirname(path));
  replaceFile(path, text);
}
