package org.isplit.edge

/** Any error that this code raises on purpose; the message says what was asked, what was found, what is possible. */
sealed class ISplitException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The bundle is incomplete, was changed, has a newer format, or is none that this application can run. */
class BundleException(message: String, cause: Throwable? = null) : ISplitException(message, cause)

/** An image or an address is none that is possible here. */
class DataException(message: String, cause: Throwable? = null) : ISplitException(message, cause)

/** The server cannot be reached, refused, or answered something else than the protocol says. */
class ServerException(message: String, cause: Throwable? = null) : ISplitException(message, cause)
