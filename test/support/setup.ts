// Template validation costs seconds and 400 MB per process: the suite in test/templates turns it on by itself.
process.env.CDK_VALIDATION ??= 'false';
