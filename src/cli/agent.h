/* agent.h - how much context coding agents need: what every command says of it. */
#ifndef CLI_AGENT_H
#define CLI_AGENT_H

enum {
    /* The first prompt of Claude Code has 11,000 to 20,000 tokens before a word is said,
     * and it keeps room for a summary and an answer: with less it cannot work. */
    AGENT_CTX_LEAST = 32768,
    /* With less, the history is compacted before almost every answer. */
    AGENT_CTX_GOOD = 65536,
};

#endif
