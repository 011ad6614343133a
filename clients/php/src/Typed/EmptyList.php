<?php

declare(strict_types=1);

namespace Jackfield\Typed;

/**
 * An empty list in params: the client sends params that are an empty array as an object.
 *
 * @internal
 */
final class EmptyList implements \JsonSerializable
{
    /** @return array{} */
    public function jsonSerialize(): array
    {
        return [];
    }
}
