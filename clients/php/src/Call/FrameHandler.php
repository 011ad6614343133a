<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Pool\ErrorNotification;
use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;

use function is_string, sprintf, substr;

/**
 * Handles the frames that arrive for async calls, and matches replies to calls by id.
 *
 * @internal
 */
final class FrameHandler
{
    public function __construct(
        private readonly OutcomeHandler $outcomes,
        private readonly Options $options,
        private readonly Log $log,
    ) {
    }

    /**
     * Handles one frame.
     *
     * A reply that cannot be read fails its own call, if its id can be found.
     *
     * Kinds of later protocol versions, and heartbeat answers that are not waited for, are ignored.
     *
     * @throws JackfieldException if the connection has to be closed
     */
    public function handle(Connection $connection, FrameReader $reader): void
    {
        $kind = $reader->kind;
        $payload = $reader->payload;
        if ($kind === Header::ASYNC_RESPONSE) {
            if ($reader->isBytes && $reader->refusedBytes === 0) {
                $reply = Envelope::bytesReply($payload);
            } elseif ($reader->refusedBytes === 0) {
                $id = substr($payload, Envelope::ID_OFFSET, Uuid::LENGTH);
                $expectedId = isset($connection->inFlight[$id]) ? $id : null;
                $reply = Envelope::reply($payload, $this->options->associative, $expectedId);
            } else {
                $reply = Envelope::tooLarge($payload, $reader->refusedBytes, $this->options->maxFrameBytes);
                if (!isset($reply['id'])) {
                    throw $reply['error'];
                }
            }

            $id = is_string($reply['id'] ?? null) ? $reply['id'] : '';
            $call = $connection->inFlight[$id] ?? null;
            if ($call === null) {
                $error = $reply['error'] ?? null;
                if ($error instanceof ProtocolException && !isset($connection->withdrawn[$id])) {
                    throw $error;
                }
                if (!isset($connection->withdrawn[$id])) {
                    $connection->negotiation->rejectEarlierReply();
                }
                $this->log->unmatchedReply($id, isset($connection->withdrawn[$id]));
                unset($connection->withdrawn[$id]);

                return;
            }

            $connection->hasServed = true;
            // The answer to the hello precedes the first reply. If it has not arrived, it may
            // arrive when nobody waits for it.
            $connection->acceptsNoCalls = $connection->acceptsNoCalls || $connection->negotiation->isAwaiting
                || isset($reply['error']) && Envelope::isGoingAway($reply);
            if ($call->future !== null) {
                $call->future->timing = $reader->timing;
            }
            // The call stays in flight until it is handled, because a signal handler may throw.
            $this->outcomes->handleReply($call, $reply);
            unset($connection->inFlight[$id]);
        } elseif ($kind === Header::HEARTBEAT) {
            $connection->handleHeartbeat();
            $connection->flush();
        } elseif ($kind === Header::GOING_AWAY) {
            $connection->handleGoingAway();
        } elseif ($kind === Header::ERROR) {
            $this->handleNotification($connection, ErrorNotification::parse($payload));
        } elseif ($kind === Header::SYNC || $kind === Header::ASYNC_REQUEST) {
            $connection->negotiation->rejectEarlierReply();
            $message = sprintf(
                'the peer sent a frame of kind %02x on a connection of async calls, which awaits none of this kind',
                $kind
            );
            throw new ProtocolException($message);
        }
    }

    private function handleNotification(Connection $connection, ErrorNotification $notification): void
    {
        if ($notification->isGoingAway()) {
            $connection->acceptsNoCalls = true;

            return;
        }
        if (!$notification->keepsConnectionUsable()) {
            throw $notification->error;
        }

        foreach ($connection->inFlight as $id => $call) {
            if ($notification->concerns($call->payloadLength)) {
                $this->outcomes->handleFailure($call, $notification->error);
                unset($connection->inFlight[$id]);
            }
        }
    }
}
