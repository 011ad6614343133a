<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Bytes;
use Jackfield\Exception\UnreadableReplyException;

use function is_string;

/**
 * The params of a call whose result has to be bytes.
 *
 * They pass through the methods that take any params, so that other calls pay nothing for them.
 *
 * @internal
 */
final class BytesCall
{
    /**
     * @param mixed       $params JSON params
     * @param string|null $bytes  params that are bytes
     */
    private function __construct(
        public readonly mixed $params,
        public readonly ?string $bytes,
        public readonly bool $returnsBytes,
    ) {
    }

    /**
     * Returns the params of a call that returns bytes: a string is sent as bytes.
     */
    public static function returning(mixed $params): self
    {
        if ($params instanceof Bytes) {
            return new self(null, $params->bytes, true);
        }

        return is_string($params) ? new self(null, $params, true) : new self($params, null, true);
    }

    /**
     * Returns how params that are an object are sent; null for those of an ordinary call.
     */
    public static function of(object $params): ?self
    {
        if ($params instanceof Bytes) {
            return new self(null, $params->bytes, false);
        }

        return $params instanceof self ? $params : null;
    }

    /**
     * Returns the result for the caller.
     *
     * @throws UnreadableReplyException if it has to be bytes and is not
     */
    public function result(mixed $result, string $method): mixed
    {
        if (!$this->returnsBytes) {
            return $result;
        }

        return $result instanceof Bytes ? $result->bytes : throw UnreadableReplyException::notBytes($method);
    }
}
