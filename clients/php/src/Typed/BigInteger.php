<?php

declare(strict_types=1);

namespace Jackfield\Typed;

use Jackfield\Wire\Envelope;

use function bin2hex, random_bytes;

/**
 * An integer beyond 64 bits in params.
 *
 * json_encode() writes no such integers. It gets a string with a mark instead, which nobody outside
 * of this process knows, and Envelope removes quotes and mark.
 *
 * @internal
 */
final class BigInteger implements \JsonSerializable
{
    private static ?string $mark = null;

    public function __construct(private readonly string $digits)
    {
    }

    public function jsonSerialize(): string
    {
        if (self::$mark === null) {
            $random = random_bytes(16);
            self::$mark = bin2hex($random) . ':';
        }
        Envelope::$integerMark = self::$mark;

        return self::$mark . $this->digits;
    }
}
