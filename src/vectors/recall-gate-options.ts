/** What a new generation must reach before it answers: the share of the true nearest neighbours that its graph finds. */
export interface RecallGateOptions {
  /** Neighbours that are compared, 1 to 100. @default 10 */
  readonly k?: number;
  /** Vectors of the index that are asked for, 1 to 500: each is one exact search over all vectors, hours of work for some hundred million. @default 100 */
  readonly sample?: number;
  /** Least recall, 0 to 1, where 0 measures nothing. @default 0.9 */
  readonly least?: number;
}
