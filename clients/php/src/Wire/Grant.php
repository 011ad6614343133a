<?php

declare(strict_types=1);

namespace Jackfield\Wire;

/**
 * The answer of a host to a hello: the capabilities that it grants.
 *
 * @internal
 */
final class Grant
{
    /**
     * @param string $nonce        nonce of the hello that the host answers
     * @param int    $capabilities bits of Hello
     * @param int    $maxPayload   largest payload that the host accepts, in bytes; 0: no statement
     * @param int    $maxInFlight  most requests in flight on this connection; 0: no statement
     * @param bool   $hasBytes     whether params and results may be bytes
     */
    public function __construct(
        public readonly string $nonce,
        public readonly int $capabilities,
        public readonly int $maxPayload,
        public readonly int $maxInFlight,
        public readonly bool $hasBytes,
    ) {
    }

    /**
     * Returns whether the host grants a capability.
     */
    public function has(int $capability): bool
    {
        return ($this->capabilities & $capability) !== 0;
    }
}
