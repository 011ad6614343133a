<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Exception\InvalidRequestException;

/**
 * Opaque bytes as the params or the result of a call, such as an image.
 *
 * They cross the connection as they are, without base64 and without JSON, and the host does not
 * look into them. It has to speak version 1.2 of the protocol.
 */
final class Bytes implements \JsonSerializable, \Stringable
{
    public function __construct(public readonly string $bytes)
    {
    }

    public function __toString(): string
    {
        return $this->bytes;
    }

    /**
     * @throws InvalidRequestException always: bytes are not a part of a JSON document
     */
    public function jsonSerialize(): never
    {
        throw new InvalidRequestException('Bytes must be the params themselves; they cannot be a part of other params');
    }
}
