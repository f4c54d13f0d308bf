/** The rollout document from AppConfig: polled, validated, and kept when AppConfig fails (DESIGN §4.2). */
import {
  type AppConfigDataClient, BadRequestException, GetLatestConfigurationCommand, type GetLatestConfigurationCommandOutput,
  StartConfigurationSessionCommand,
} from '@aws-sdk/client-appconfigdata';
import type { RolloutDocument } from '../../../src/contract';
import { Listeners } from '../../core/listeners';
import type { Logger, RolloutSource } from '../../core/ports';
import { parseRollout } from '../../core/rollout';

/** Shortest interval that GetLatestConfiguration takes, seconds (AWS AppConfig API reference, RequiredMinimumPollIntervalInSeconds). */
export const LEAST_POLL_SECONDS = 15;

export interface AppConfigRolloutOptions {
  readonly client: AppConfigDataClient;
  readonly application: string;
  readonly environment: string;
  readonly profile: string;
  readonly logger: Logger;
  /** Read once, if AppConfig does not answer while there is no document yet. */
  readonly lastGood: () => Promise<RolloutDocument | undefined>;
  /** Seconds between two polls, at least {@link LEAST_POLL_SECONDS}. @default 15 */
  readonly pollSeconds?: number;
}

export class AppConfigRollout implements RolloutSource {
  private document: RolloutDocument | undefined;
  private token: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  private nextPollSeconds: number;
  private closed = false;
  private polling: Promise<void> | undefined;
  private readonly listeners = new Listeners<RolloutDocument>();
  private reported: string | undefined;

  constructor(private readonly options: AppConfigRolloutOptions) {
    this.nextPollSeconds = Math.max(LEAST_POLL_SECONDS, options.pollSeconds ?? LEAST_POLL_SECONDS);
  }

  /** Polls once, then by itself. Does not fail: without a document `current()` stays undefined, and the service is not ready. */
  async start(): Promise<void> {
    await this.poll();
    if (!this.document) await this.fallBack();
    this.schedule();
  }

  /** One poll, now; polls never overlap. */
  poll(): Promise<void> {
    this.polling ??= this.pollOnce().finally(() => {
      this.polling = undefined;
    });
    return this.polling;
  }

  current(): RolloutDocument | undefined {
    return this.document;
  }

  onChange(callback: (document: RolloutDocument) => void): () => void {
    return this.listeners.add(callback);
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.polling;
    this.options.client.destroy();
  }

  private schedule(): void {
    if (this.closed) return;
    // up to a tenth later, so that pods which started together do not poll together
    const delay = this.nextPollSeconds * 1000 * (1 + Math.random() / 10);
    this.timer = setTimeout(() => void this.poll().then(async () => {
      if (!this.document) await this.fallBack();
      this.schedule();
    }), delay).unref();
  }

  private async pollOnce(): Promise<void> {
    try {
      await this.fetch();
      this.reported = undefined;
    } catch (error) {
      const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      if (reason === this.reported) return;
      this.reported = reason;
      this.options.logger.error({ error: reason, kept: this.document !== undefined }, 'no new rollout document');
    }
  }

  private async fetch(): Promise<void> {
    const answer = await this.latest();
    this.token = answer.NextPollConfigurationToken;
    this.nextPollSeconds = Math.max(LEAST_POLL_SECONDS, this.options.pollSeconds ?? 0, answer.NextPollIntervalInSeconds ?? 0);
    // an empty body: unchanged since the last poll of this session
    if (answer.Configuration && answer.Configuration.length > 0) this.take(parseRollout(answer.Configuration));
  }

  /** A token is good for one call within 24 hours; a new session tells the whole document again. */
  private async latest(): Promise<GetLatestConfigurationCommandOutput> {
    const { client } = this.options;
    const token = this.token;
    this.token = undefined;
    if (token !== undefined) {
      try {
        return await client.send(new GetLatestConfigurationCommand({ ConfigurationToken: token }));
      } catch (error) {
        if (!(error instanceof BadRequestException)) throw error;
      }
    }
    return client.send(new GetLatestConfigurationCommand({ ConfigurationToken: await this.session() }));
  }

  private async session(): Promise<string> {
    const { client, application, environment, profile } = this.options;
    const { InitialConfigurationToken } = await client.send(new StartConfigurationSessionCommand({
      ApplicationIdentifier: application,
      EnvironmentIdentifier: environment,
      ConfigurationProfileIdentifier: profile,
      RequiredMinimumPollIntervalInSeconds: LEAST_POLL_SECONDS,
    }));
    return InitialConfigurationToken!;
  }

  private async fallBack(): Promise<void> {
    const { lastGood, logger } = this.options;
    try {
      const document = await lastGood();
      if (!document || this.document) return;
      logger.warn({}, 'the last good rollout document is in force until AppConfig answers');
      this.take(document);
    } catch (error) {
      logger.error({ error: error instanceof Error ? error.message : String(error) }, 'no last good rollout document');
    }
  }

  private take(document: RolloutDocument): void {
    if (JSON.stringify(document) === JSON.stringify(this.document)) return;
    this.document = document;
    this.listeners.tell(document);
  }
}
