<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\RemoteException;

use function is_int, is_string;

/**
 * A message of Client::sendAsync(), and the replies that its callback receives.
 *
 * @internal
 */
final class CallbackMessage
{
    public readonly string $method;
    public readonly mixed $params;
    public readonly ?int $timestamp;

    /**
     * @param array<array-key, mixed> $message
     *
     * @throws InvalidRequestException if the method is missing, or the timestamp is no integer
     */
    public function __construct(array $message)
    {
        $method = $message['method'] ?? null;
        $timestamp = $message['timestamp'] ?? null;
        if (!is_string($method) || !($timestamp === null || is_int($timestamp))) {
            throw new InvalidRequestException(
                'sendAsync() needs a message with a string "method"; an optional "timestamp" must be an integer'
            );
        }

        $this->method = $method;
        $this->params = $message['params'] ?? null;
        $this->timestamp = $timestamp;
    }

    /** @return array<string, mixed> the reply for a call that failed */
    public static function errorReply(string $id, \Throwable $failure): array
    {
        $error = ['code' => 0, 'message' => $failure->getMessage()];
        if (!$failure instanceof RemoteException) {
            return ['id' => $id, 'error' => $error, 'exception' => $failure];
        }

        $error['code'] = $failure->getCode();
        if ($failure->data() !== null) {
            $error['data'] = $failure->data();
        }

        return ['id' => $id, 'error' => $error];
    }
}
