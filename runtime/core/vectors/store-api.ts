/** A vector store's REST API as what provides its indexes asks it. */
export interface StoreApi {
  /**
   * Fails with a `BrainError` where the store does not answer, and with another error where it refuses, unless `accept` holds the status.
   *
   * @param path percent-encoded, without a query
   */
  call(method: string, path: string, request?: StoreRequest): Promise<StoreAnswer>;
}

export interface StoreRequest {
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** Statuses that are answers, beside 200 and 201. @default - none */
  readonly accept?: readonly number[];
}

export interface StoreAnswer {
  readonly status: number;
  /** The JSON that came, of any shape. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
}
