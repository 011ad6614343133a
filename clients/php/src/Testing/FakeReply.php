<?php

declare(strict_types=1);

namespace Jackfield\Testing;

/**
 * Reactions of a fake host other than an answer.
 *
 * @internal
 */
enum FakeReply
{
    /** Does not answer. */
    case None;

    /** Closes the connection. */
    case Close;
}
