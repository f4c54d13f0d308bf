export * from './brain-alerts';
export * from './cloudwatch-agent';
export * from './payload-capture';
export * from './telemetry-sink';
